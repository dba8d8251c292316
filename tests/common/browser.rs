//! A real browser for the status page: headless Chromium, driven by browser.py.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::{have, skip, wait_for};

/// The system's own Python: that is where Debian puts python3-websocket.
const PYTHON: &str = "/usr/bin/python3";

/// One window. Chromium ends with it.
pub struct Browser {
    driver: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Browser {
    /// `None`, said once, where there is no Chromium or no way to drive it.
    pub fn open(test: &str) -> Option<Browser> {
        if !have(test, &["chromium", "python3"]) {
            return None;
        }
        let can_drive = Command::new(PYTHON)
            .args(["-c", "import websocket"])
            .stderr(Stdio::null())
            .status();
        if !can_drive.is_ok_and(|status| status.success()) {
            skip(test, "no python3-websocket here");
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/browser.py");
        let mut driver = Command::new(PYTHON)
            .arg(script)
            .arg("chromium")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Some(Browser {
            input: driver.stdin.take(),
            output: BufReader::new(driver.stdout.take().unwrap()),
            driver,
        })
    }

    fn ask(&mut self, command: &str) -> Value {
        let input = self.input.as_mut().unwrap();
        assert!(!command.contains('\n'), "one line: {command}");
        writeln!(input, "{command}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{command}: {e}: {answer:?}"))
    }

    /// Opens a page; returns when its document is there.
    pub fn visit(&mut self, url: &str) {
        self.ask(&format!("open {url}"));
    }

    /// The value of an expression on the page.
    pub fn eval(&mut self, expression: &str) -> Value {
        self.ask(&format!("eval {expression}"))
    }

    /// Waits until an expression on the page is true.
    pub fn wait_until(&mut self, expression: &str) {
        wait_for(expression, || (self.eval(expression) == true).then_some(()));
    }

    /// Size of the window, and whether the user likes it dark.
    pub fn look(&mut self, width: u32, height: u32, is_dark: bool) {
        let scheme = if is_dark { "dark" } else { "light" };
        self.ask(&format!("look {width} {height} {scheme}"));
    }

    /// Saves what is seen as a PNG.
    pub fn shot(&mut self, path: &Path) {
        self.ask(&format!("shot-all {}", path.display()));
    }

    /// What the console and the network complained about.
    pub fn errors(&mut self) -> Vec<String> {
        serde_json::from_value(self.ask("errors")).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of its input ends the driver, which ends Chromium.
        drop(self.input.take());
        let _ = self.driver.wait();
    }
}
