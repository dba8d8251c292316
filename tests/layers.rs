//! The layers hold: no import in `src/` points upward, and no modules import each other in a ring.
//! The order is the table of docs/ARCHITECTURE.md, "Layers". Tests inside `src/` may import what
//! they like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module's path from the crate's root: `["rtp", "jpeg", "wire"]`. One file each.
type Module = Vec<String>;

#[derive(Default)]
struct File {
    /// Names that `use` gives to something else, visible from other modules or not.
    names: BTreeMap<String, Vec<String>>,
    /// Modules all of whose names it takes.
    globs: Vec<Vec<String>>,
    /// Paths in its code, as they are written but for `use` trees, which are spelled out.
    paths: Vec<Vec<String>>,
}

struct Source(BTreeMap<Module, File>);

#[test]
fn no_import_points_upward() {
    let source = Source::read();
    let order = order();
    let rank = |module: &Module| {
        let top = &module[0];
        let found = order.iter().position(|row| row.contains(top));
        found.unwrap_or_else(|| panic!("docs/ARCHITECTURE.md, Layers, has no row for {top}"))
    };
    let mut upward = Vec::new();
    for (from, to) in source.imports() {
        if rank(&to) > rank(&from) {
            upward.push(format!("{} imports {}", from.join("::"), to.join("::")));
        }
    }
    assert!(upward.is_empty(), "upward: {upward:#?}");
}

#[test]
fn no_modules_import_each_other_in_a_ring() {
    let imports = Source::read().imports();
    let leads_to = |from: &Module, to: &Module| {
        let (mut seen, mut open) = (BTreeSet::from([from]), vec![from]);
        while let Some(at) = open.pop() {
            let next = imports.iter().filter(|(module, _)| module == at);
            open.extend(next.map(|(_, to)| to).filter(|to| seen.insert(to)));
        }
        seen.contains(to)
    };
    let rings: Vec<String> = (imports.iter())
        .filter(|(from, to)| leads_to(to, from))
        .map(|(from, to)| format!("{} imports {}", from.join("::"), to.join("::")))
        .collect();
    assert!(rings.is_empty(), "rings: {rings:#?}");
}

#[test]
fn the_reader_sees_each_kind_of_import() {
    let file = File::parse;
    let module = |text: &str| -> Module { text.split("::").map(str::to_owned).collect() };
    let source = Source(BTreeMap::from([
        (vec![], file("pub mod a; pub mod b; pub mod c;")),
        (
            module("a"),
            file("mod low; pub use low::Thing; pub fn own() {}"),
        ),
        (module("a::low"), file("pub struct Thing;")),
        (
            module("b"),
            file(
                "use crate::{a::{self, Thing as T}, c as d};
                 fn f() { println!(\"{}\", crate::c::X); super::a::own(); }
                 #[cfg(test)] mod tests { use crate::e::Y; }",
            ),
        ),
        (module("c"), file("use crate::a::*;")),
        (module("e"), file("")),
    ]));
    let got: Vec<String> = (source.imports().iter())
        .map(|(from, to)| format!("{} {}", from.join("::"), to.join("::")))
        .collect();
    assert_eq!(got, ["a a::low", "b a", "b a::low", "b c", "c a"]);
}

/// The rows of the table, lowest first; a row may name several modules, which do not import each
/// other.
fn order() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let section = text
        .split("\n## Layers\n")
        .nth(1)
        .expect("a section Layers");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let names = row.split('|').nth(1).unwrap().split('`');
        let paths = names.filter_map(|name| name.strip_prefix("src/"));
        paths
            .map(|path| {
                path.trim_end_matches('/')
                    .trim_end_matches(".rs")
                    .to_owned()
            })
            .collect()
    })
    .collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

impl Source {
    fn read() -> Source {
        let mut files = BTreeMap::new();
        read_folder(&root().join("src"), &mut vec![], &mut files);
        Source(files)
    }

    /// Who imports whom.
    fn imports(&self) -> BTreeSet<(Module, Module)> {
        let mut found = BTreeSet::new();
        for (module, file) in self.0.iter().filter(|(module, _)| !module.is_empty()) {
            let written = file
                .paths
                .iter()
                .chain(&file.globs)
                .chain(file.names.values());
            for to in written.filter_map(|path| self.resolve(module, path, 0)) {
                if to != *module && !to.is_empty() {
                    found.insert((module.clone(), to));
                }
            }
        }
        found
    }

    /// The module that has what `path` means in `from`; `None`: it is not of this crate.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        assert!(depth < 20, "{path:?} in {from:?} leads nowhere");
        let (mut at, mut rest) = match path[0].as_str() {
            "crate" | "lancam" => (vec![], &path[1..]),
            "self" => (from.clone(), &path[1..]),
            "super" => (from[..from.len() - 1].to_vec(), &path[1..]),
            first => {
                let is_child = self
                    .0
                    .contains_key(&[&from[..], &[first.to_owned()]].concat());
                (is_child.then(|| from.clone())?, path)
            }
        };
        while let [next, tail @ ..] = rest {
            let deeper = [&at[..], std::slice::from_ref(next)].concat();
            if next == "super" {
                at.pop();
            } else if self.0.contains_key(&deeper) {
                at = deeper;
            } else {
                break;
            }
            rest = tail;
        }
        // A name that the module has from elsewhere.
        let renamed = rest.first().and_then(|name| self.0[&at].names.get(name));
        match renamed.filter(|path| at != *from || path[..] != *rest) {
            Some(path) if at != *from => self.resolve(&at, path, depth + 1).or(Some(at)),
            _ => Some(at),
        }
    }
}

fn read_folder(folder: &Path, module: &mut Module, files: &mut BTreeMap<Module, File>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() {
            module.push(name);
            read_folder(&path, module, files);
            module.pop();
        } else if let Some(stem) = name.strip_suffix(".rs").filter(|&stem| stem != "tests") {
            let is_folders_own = matches!(stem, "mod" | "lib");
            let own = (!is_folders_own).then(|| stem.to_owned());
            let text = fs::read_to_string(&path).unwrap();
            files.insert([&module[..], own.as_slice()].concat(), File::parse(&text));
        }
    }
}

impl File {
    fn parse(text: &str) -> File {
        let mut file = File::default();
        file.code(text.parse().expect("Rust that compiles"));
        file
    }

    /// Reads `use` trees and paths of two words and more, inside macros too. What stands behind
    /// `#[cfg(test)]` is passed over.
    fn code(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match &token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) if *ident != "use" && *ident != "pub" => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                    continue;
                }
                _ => self.end(&mut path),
            }
            colons = 0;
            match token {
                TokenTree::Ident(word) if word == "use" => {
                    let is_end =
                        |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ';');
                    let tree: Vec<_> = tokens.by_ref().take_while(|t| !is_end(t)).collect();
                    self.tree(&tree, &[]);
                }
                // Who may see an item is no import: `pub(in super::super)`.
                TokenTree::Ident(_) => {
                    tokens.next_if(|next| matches!(next, TokenTree::Group(_)));
                }
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let attribute = tokens.next_if(|next| matches!(next, TokenTree::Group(_)));
                    if attribute.is_some_and(|a| a.to_string().replace(' ', "") == "[cfg(test)]") {
                        pass_over_item(&mut tokens);
                    }
                }
                TokenTree::Group(group) => self.code(group.stream()),
                _ => {}
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.paths.push(path);
        }
    }

    /// The names that a `use` tree gives.
    fn tree(&mut self, tree: &[TokenTree], before: &[String]) {
        let mut path = before.to_vec();
        let mut rest = tree.iter();
        while let Some(token) = rest.next() {
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    let name = rest.next().map(ToString::to_string);
                    self.names.insert(name.unwrap_or_default(), path);
                    return;
                }
                TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Punct(punct) if punct.as_char() == '*' => {
                    self.globs.push(path);
                    return;
                }
                TokenTree::Group(group) => {
                    let tokens: Vec<_> = group.stream().into_iter().collect();
                    let is_comma =
                        |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ',');
                    for branch in tokens.split(is_comma).filter(|branch| !branch.is_empty()) {
                        self.tree(branch, &path);
                    }
                    return;
                }
                _ => {}
            }
        }
        self.names
            .insert(path.last().cloned().unwrap_or_default(), path);
    }
}

/// An item ends with its body or a semicolon.
fn pass_over_item(tokens: &mut impl Iterator<Item = TokenTree>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
            TokenTree::Punct(punct) if punct.as_char() == ';' => return,
            _ => {}
        }
    }
}
