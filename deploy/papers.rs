//! What a package of lancam contains besides the binary, made from existing sources: man pages and
//! shell completions from the command line's definition, and the licence texts of every linked
//! library. deploy/package runs it; it is not in any package itself.
//!
//!     cargo run --example papers -- DIRECTORY FEATURES TARGET-TRIPLE

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use clap_complete::Shell;
use lancam::cli::Cli;
use serde_json::Value;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, features, triple] = &arguments[..] else {
        bail!("usage: papers DIRECTORY FEATURES TARGET-TRIPLE");
    };
    let directory = Path::new(directory);
    manuals(&directory.join("man"))?;
    completions(&directory.join("completions"))?;
    let licences = licences(&linked(features, triple)?)?;
    fs::write(directory.join("LICENCES.txt"), licences)?;
    Ok(())
}

/// lancam(1) and a page for each subcommand.
fn manuals(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let command = Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, directory).context("man pages")
}

fn completions(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let mut command = Cli::command();
        clap_complete::generate_to(shell, &mut command, "lancam", directory)?;
    }
    Ok(())
}

/// A library that is linked.
struct Library {
    name: String,
    version: String,
    licence: String,
    authors: String,
    directory: PathBuf,
}

/// Everything that lancam links with these features for this target: what cargo resolves, less what
/// only builds and tests use.
fn linked(features: &str, triple: &str) -> Result<Vec<Library>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked"])
        .args(["--filter-platform", triple])
        .args(["--no-default-features", "--features", features])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let root = text(&metadata["resolve"]["root"]);
    let nodes: BTreeMap<String, &Value> = list(&metadata["resolve"]["nodes"])
        .map(|node| (text(&node["id"]), node))
        .collect();
    let mut found = BTreeSet::new();
    let mut open = vec![root.clone()];
    while let Some(id) = open.pop() {
        let node = nodes.get(&id).context("a package without a node")?;
        let is_linked = |d: &&Value| list(&d["dep_kinds"]).any(|kind| kind["kind"].is_null());
        let dependencies = list(&node["deps"])
            .filter(is_linked)
            .map(|d| text(&d["pkg"]));
        open.extend(dependencies.filter(|id| found.insert(id.clone())));
    }
    let is_linked = |p: &&Value| found.contains(&text(&p["id"])) && !is_macro(p);
    let libraries = list(&metadata["packages"]).filter(is_linked).map(library);
    Ok(libraries.collect())
}

/// Macros run in the compiler.
fn is_macro(package: &Value) -> bool {
    let mut kinds = list(&package["targets"]).flat_map(|target| list(&target["kind"]));
    kinds.any(|kind| kind == "proc-macro")
}

fn library(package: &Value) -> Library {
    let manifest = PathBuf::from(text(&package["manifest_path"]));
    let authors: Vec<String> = list(&package["authors"]).map(text).collect();
    Library {
        name: text(&package["name"]),
        version: text(&package["version"]),
        licence: text(&package["license"]),
        authors: authors.join(", "),
        directory: manifest.parent().map(Path::to_owned).unwrap_or_default(),
    }
}

/// The texts, each once, with the libraries that it is for.
fn licences(libraries: &[Library]) -> Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for library in libraries {
        let title = format!("{} {} ({})", library.name, library.version, library.licence);
        let found = licence_files(&library.directory)?;
        if found.is_empty() {
            without.push(format!("{title}, by {}", library.authors));
        }
        for text in found {
            texts.entry(text).or_default().push(title.clone());
        }
    }
    let mut out = String::from("lancam is made with these libraries.\n");
    for (text, of) in &texts {
        out += &format!(
            "\n{}\n\n{}\n\n{}\n",
            "=".repeat(72),
            of.join("\n"),
            text.trim()
        );
    }
    if !without.is_empty() {
        out += &format!(
            "\n{}\n\nWithout a text of their own; those of their licences are above:\n\n{}\n",
            "=".repeat(72),
            without.join("\n")
        );
    }
    out += &format!(
        "\n{}\n\nThe Rust standard library (MIT OR Apache-2.0), by the Rust Project Developers.\n",
        "=".repeat(72)
    );
    Ok(out)
}

/// The licence texts in a library's folder, and in that of libjpeg-turbo within turbojpeg-sys.
fn licence_files(directory: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for folder in [directory.to_owned(), directory.join("libjpeg-turbo")] {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        files.sort();
        for file in files.iter().filter(|file| is_licence(file)) {
            let bytes = fs::read(file).with_context(|| file.display().to_string())?;
            let text = String::from_utf8_lossy(&bytes);
            texts.push(text.trim().replace('\r', ""));
        }
    }
    Ok(texts)
}

fn is_licence(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_uppercase();
    let starts = [
        "LICENSE",
        "LICENCE",
        "COPYING",
        "COPYRIGHT",
        "NOTICE",
        "UNLICENSE",
        "README.IJG",
    ];
    file.is_file() && starts.iter().any(|start| name.starts_with(start))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
