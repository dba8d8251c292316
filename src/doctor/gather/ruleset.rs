//! The firewall's rules, as far as this user may read them.

use std::path::Path;
use std::time::Duration;

use super::super::findings::{Filter, Unseen};
use super::super::firewall::Ruleset;
use super::child::{NoAnswer, ask};
use super::proc;

/// nft may take this long.
const LIMIT: Duration = Duration::from_secs(2);

/// Reads them.
pub(super) fn read() -> Filter {
    Filter {
        ruleset: ruleset(),
        has_legacy: proc::has_legacy_iptables(),
        has_config: Path::new("/etc/nftables.conf").is_file(),
    }
}

fn ruleset() -> Result<Ruleset, Unseen> {
    let why = match ask("nft", &["-j", "list", "ruleset"], LIMIT) {
        Ok(json) => match Ruleset::from_json(&json) {
            Some(ruleset) => return Ok(ruleset),
            None => "nft did not print JSON".to_owned(),
        },
        Err(NoAnswer::Failed(said)) if is_refusal(&said) => return Err(Unseen::NeedsRoot),
        Err(NoAnswer::Failed(said)) => format!("nft failed: {said}"),
        Err(NoAnswer::Missing) => "nft is not installed".to_owned(),
        Err(NoAnswer::TooSlow) => format!("nft did not answer in {} s", LIMIT.as_secs()),
    };
    Err(Unseen::Other(why))
}

fn is_refusal(said: &str) -> bool {
    ["not permitted", "ermission denied", "must be root"]
        .iter()
        .any(|words| said.contains(words))
}
