//! README.md and docs/: wrapped, every relative link leads somewhere, every command is one that
//! lancam has.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
#[cfg(feature = "send")]
use std::process::Command;

/// Outside tables and code blocks.
const COLUMNS: usize = 100;
const README_LINES: usize = 130;

#[derive(PartialEq)]
enum Kind {
    Prose,
    Table,
    Code,
}

/// The pages: README.md, CHANGELOG.md and all in docs/.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let mut pages: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|ext| ext == "md"));
    pages.extend(["README.md", "CHANGELOG.md"].map(|name| root.join(name)));
    assert!(pages.len() > 5, "{pages:?}");
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    pages.into_iter().map(read).collect()
}

/// The lines of a page, each with its number and what it is.
fn lines(text: &str) -> Vec<(usize, &str, Kind)> {
    let mut is_fenced = false;
    let mut before = Kind::Code;
    let kind = |line: &str| {
        let is_fence = line.starts_with("```");
        is_fenced ^= is_fence;
        // Four columns are code behind an empty line, and the rest of a list's item elsewhere.
        let is_code = line.starts_with("    ") && before == Kind::Code;
        let kind = match () {
            () if is_fence || is_fenced || is_code => Kind::Code,
            () if line.trim_start().starts_with('|') => Kind::Table,
            () => Kind::Prose,
        };
        before = match is_code || line.is_empty() {
            true => Kind::Code,
            false => Kind::Prose,
        };
        kind
    };
    let kinds: Vec<Kind> = text.lines().map(kind).collect();
    let numbered = text.lines().enumerate().zip(kinds);
    numbered
        .map(|((i, line), kind)| (i + 1, line, kind))
        .collect()
}

#[test]
fn no_line_is_too_long() {
    let mut long = Vec::new();
    for (path, text) in pages() {
        for (number, line, kind) in lines(&text) {
            let columns = line.chars().count();
            if kind == Kind::Prose && columns > COLUMNS {
                long.push(format!("{}:{number}: {columns} columns", path.display()));
            }
        }
        if path.ends_with("README.md") && !path.ends_with("docs/README.md") {
            let count = text.lines().count();
            assert!(count <= README_LINES, "README.md has {count} lines");
        }
    }
    assert!(long.is_empty(), "too long:\n{}", long.join("\n"));
}

/// The anchor that GitHub makes for a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|&c| c.is_alphanumeric() || " -_".contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_anchor(text: &str, wanted: &str) -> bool {
    let headings = lines(text).into_iter();
    headings
        .filter(|(_, line, kind)| *kind != Kind::Code && line.starts_with('#'))
        .any(|(_, line, _)| anchor(line) == wanted)
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for (path, text) in pages() {
        for (number, line, kind) in lines(&text) {
            if kind == Kind::Code {
                continue;
            }
            for link in line
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
            {
                if link.contains("://") {
                    continue;
                }
                count += 1;
                let (file, heading) = link.split_once('#').unwrap_or((link, ""));
                let target = match file.is_empty() {
                    true => path.clone(),
                    false => path.parent().unwrap().join(file),
                };
                let place = format!("{}:{number}: {link}", path.display());
                assert!(target.exists(), "{place}: there is no such file");
                if !heading.is_empty() {
                    let target = fs::read_to_string(target).unwrap();
                    assert!(
                        has_anchor(&target, heading),
                        "{place}: there is no such heading"
                    );
                }
            }
        }
    }
    assert!(count > 20, "only {count} links were found");
}

/// All of `src/`, as one text.
fn source_code() -> String {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut code = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.file_stem().unwrap().to_string_lossy();
                    code.push_str(&format!("{name}\n"));
                    code.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
                }
            }
        }
    }
    code
}

/// `rtp::sap::Directory` and `src/rtp/sap.rs`, as pages write them, are there.
#[test]
fn names_of_the_code_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = source_code();
    let words: HashSet<&str> = code
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    let mut count = 0;
    for (path, text) in pages() {
        for (number, line, _) in lines(&text)
            .into_iter()
            .filter(|(_, _, k)| *k != Kind::Code)
        {
            for span in line.split('`').skip(1).step_by(2) {
                let place = format!("{}:{number}: `{span}`", path.display());
                if span.starts_with("src/") && !span.contains(['*', '{']) {
                    count += 1;
                    assert!(root.join(span).exists(), "{place}: there is no such file");
                }
                let is_ipv6 = span.starts_with('[');
                if span.contains("::") && !is_ipv6 && !span.contains([' ', '(']) {
                    count += 1;
                    let missing = span.split("::").find(|word| !words.contains(word));
                    assert_eq!(missing, None, "{place}: not in the code");
                }
            }
        }
    }
    assert!(count > 20, "only {count} names were found");
}

/// Asks for help behind each command's own arguments: clap reads these first, and refuses those it
/// does not know.
#[test]
#[cfg(feature = "send")]
fn every_command_is_one() {
    let script =
        "lancam() { \"$LANCAM\" \"$@\" --help >/dev/null; }; sudo() { \"$@\"; }; eval \"$LINE\"";
    let mut count = 0;
    for (path, text) in pages() {
        for (number, line, kind) in lines(&text) {
            let command = line.trim_start();
            let is_command = ["lancam ", "sudo lancam "]
                .iter()
                .any(|begin| command.starts_with(begin));
            if kind != Kind::Code || !is_command || line.len() - command.len() != 4 {
                continue;
            }
            count += 1;
            let done = Command::new("bash")
                .args(["-c", script])
                .env("LANCAM", env!("CARGO_BIN_EXE_lancam"))
                .env("LINE", command)
                .output()
                .unwrap();
            assert!(
                done.status.success(),
                "{}:{number}: {line}\n{}",
                path.display(),
                String::from_utf8_lossy(&done.stderr)
            );
        }
    }
    assert!(count > 10, "only {count} commands were found");
}
