//! An X server without a monitor (Xvfb), of a test's or a benchmark's own.
#![allow(unreachable_pub)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A process that ends with its owner.
pub struct Kept(pub Child);

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a server with a screen such as `1600x1000x24`, and more arguments; its display, such as `:3`, is ready then.
pub fn start(screen: &str, more: &[&str]) -> (Kept, String) {
    let mut server = Command::new("Xvfb")
        // Else it throws everybody out when its last client goes, which tools often are.
        .arg("-noreset")
        .args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0"])
        .arg(screen)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("Xvfb starts (Debian: apt install xvfb)");
    // It writes the number once it is ready.
    let mut number = String::new();
    let stdout = server.stdout.take().expect("piped");
    let server = Kept(server);
    BufReader::new(stdout)
        .read_line(&mut number)
        .expect("a display");
    (server, format!(":{}", number.trim()))
}
