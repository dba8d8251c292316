//! Tells the compiler which commit this is, for `lancam --version`.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=LANCAM_COMMIT");
    println!("cargo::rustc-env=LANCAM_COMMIT={}", commit());
}

/// The commit as the caller gives it, else as git does. A debug build goes without, as otherwise
/// each commit would trigger a rebuild; so does a build from a source archive.
fn commit() -> String {
    if let Ok(given) = env::var("LANCAM_COMMIT") {
        return given;
    }
    if env::var("PROFILE").as_deref() != Ok("release") {
        return "development".to_owned();
    }
    for path in ["HEAD", "logs/HEAD", "index"] {
        if let Some(file) = git(&["rev-parse", "--git-path", path]) {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    git(&[
        "describe",
        "--always",
        "--dirty",
        "--abbrev=9",
        "--exclude=*",
    ])
    .unwrap_or_else(|| "no commit".to_owned())
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
