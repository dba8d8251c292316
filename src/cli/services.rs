//! The flags for what is served to visitors, the same for `lancam send` and `lancam view`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::usage::UsageError;
use crate::config::{Services, Status, UsersFrom, check};

/// The variable for the status page's token: unlike an argument, nobody else on this host sees it.
const STATUS_TOKEN: &str = "LANCAM_STATUS_TOKEN";

/// Flags for the doors.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ServiceFlags {
    /// Address of the status page for browsers [default: off]
    #[arg(long, value_name = "ADDR:PORT", value_parser = check::listen)]
    status: Option<SocketAddr>,

    /// Access token for the status page
    #[arg(long, value_name = "TOKEN", value_parser = check::token, env = STATUS_TOKEN, hide_env_values = true)]
    status_token: Option<String>,

    /// Serve RTSP for players and recorders [default: off; without an address [::]:8554]
    #[arg(long, value_name = "ADDR:PORT", value_parser = check::listen_rtsp, num_args = 0..=1, default_missing_value = "[::]:8554")]
    rtsp: Option<SocketAddr>,

    /// Let ONVIF clients find this camera, and answer them at the status page's address
    #[arg(long)]
    onvif: bool,

    /// File of the users who may watch by RTSP, ONVIF and the status page, one name:password a line
    #[arg(long, value_name = "FILE", value_parser = check::path)]
    users_file: Option<PathBuf>,
}

impl ServiceFlags {
    /// Puts what the flags say in the place of what `services` says.
    ///
    /// # Errors
    /// Flags that do not go together.
    pub(super) fn apply(&self, services: &mut Services) -> Result<(), UsageError> {
        if let Some(listen) = self.status {
            let (token, embed) = match std::mem::take(&mut services.status) {
                Status::On { token, embed, .. } => (token, embed),
                Status::Off => (None, Vec::new()),
            };
            services.status = Status::On {
                listen,
                token,
                embed,
            };
        }
        if let (Status::On { token, .. }, Some(given)) = (&mut services.status, &self.status_token)
        {
            *token = Some(given.clone());
        }
        services.rtsp = self.rtsp.or(services.rtsp);
        services.onvif |= self.onvif;
        if let Some(path) = &self.users_file {
            services.users = UsersFrom::File(path.clone());
        }
        if services.onvif && services.status == Status::Off {
            return Err(UsageError::Usage(
                "--onvif is answered by the status page's server; add --status ADDR:PORT"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}
