//! Structure of the crates: the files of a crate use each other without cycles.
//!
//! A node of the graph is a file; an inline module belongs to its file, and test modules are left
//! out. An edge leads from a file to each file whose items its paths name. Re-exports are followed
//! to the file that defines the item, so `crate::Error` leads to `error.rs`.
//!
//! A parent and its submodules are separate nodes. `mod name;` is not an edge, nor is the re-export
//! of an item of a submodule, unless the parent uses the item itself. A submodule may therefore use
//! its parent (`super::`), or the parent its submodules, but not both.
//!
//! Calls of methods name no path and are not edges: a type's methods may be defined in several
//! files, all of which depend on the file of the type.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use blockyard_tests::root;
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, Item, UseTree, Visibility};

/// Folders of the checked crates.
const CRATES: [&str; 15] = [
    "core/model",
    "core/store",
    "core/vault",
    "core/registry",
    "core/call",
    "core/capability/sql",
    "core/capability/http",
    "core/host",
    "core/telemetry",
    "core/engine",
    "build",
    "build/toolchain",
    "cli",
    "sdk/rust",
    "sdk/macros",
];

/// Segments of a path from the root of the crate.
type Segments = Vec<String>;

/// A module of a crate: a file or an inline module.
#[derive(Default)]
struct Module {
    /// File, without the ending, relative to `src`.
    file: String,
    children: BTreeSet<String>,
    items: BTreeSet<String>,
    /// Imported names, each with its path. `None` for items of other crates.
    imports: BTreeMap<String, Option<Segments>>,
    /// Modules from which all names are imported.
    globs: Vec<Segments>,
    /// Imported names that are re-exports of items of submodules.
    reexports: BTreeSet<String>,
    /// Paths in the code, as written.
    paths: BTreeSet<Segments>,
}

/// The modules of a crate, by their path.
#[derive(Default)]
struct Crate {
    modules: BTreeMap<Segments, Module>,
}

impl Crate {
    fn read(source: &Path) -> Self {
        let name = if source.join("lib.rs").exists() { "lib" } else { "main" };
        let mut this = Self::default();
        this.read_file(source, Path::new(name), &[]);
        this
    }

    /// Reads a file (its path is without the ending) and the files of its submodules.
    fn read_file(&mut self, source: &Path, file: &Path, path: &[String]) {
        let text = std::fs::read_to_string(source.join(file).with_extension("rs")).expect("a source file");
        let items = syn::parse_file(&text).expect("Rust").items;
        let folder = match file.file_name().and_then(|name| name.to_str()) {
            Some("lib" | "main" | "mod") => file.parent().expect("a folder"),
            _ => file,
        };
        let mut submodules = Vec::new();
        self.add(&file.to_string_lossy(), path, items, &mut submodules);
        for path in submodules {
            let name = folder.join(path.last().expect("a name"));
            let file = if source.join(&name).with_extension("rs").exists() { name } else { name.join("mod") };
            self.read_file(source, &file, &path);
        }
    }

    /// Adds a module and its inline modules. Submodules in other files are added to `submodules`.
    fn add(&mut self, file: &str, path: &[String], items: Vec<Item>, submodules: &mut Vec<Segments>) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        let mut imports = Vec::new();
        for item in items {
            match item {
                Item::Mod(inner) if is_test(&inner.attrs) => {}
                Item::Mod(inner) => {
                    let name = plain(&inner.ident);
                    let path = joined(path, std::slice::from_ref(&name));
                    module.children.insert(name);
                    match inner.content {
                        Some((_, items)) => self.add(file, &path, items, submodules),
                        None => submodules.push(path),
                    }
                }
                Item::Use(import) if is_test(&import.attrs) => {}
                Item::Use(import) => {
                    let is_public = !matches!(import.vis, Visibility::Inherited);
                    imports.push((import.tree, is_public));
                }
                item => {
                    module.items.extend(defined(&item));
                    let mut nested = Vec::new();
                    scan(item.into_token_stream(), &mut module.paths, &mut nested);
                    imports.extend(nested.into_iter().map(|tree| (tree, false)));
                }
            }
        }
        for (tree, is_public) in imports {
            flatten(&tree, &mut Vec::new(), &mut |written, name| {
                let target = absolute(&module, path, written);
                let is_below = target.as_ref().is_some_and(|target| {
                    target.strip_prefix(path).is_some_and(|rest| rest.len() > 1 && module.children.contains(&rest[0]))
                });
                match name {
                    Some(name) => {
                        if is_public && is_below {
                            module.reexports.insert(name.to_owned());
                        } else {
                            module.paths.insert(written.to_vec());
                        }
                        module.imports.insert(name.to_owned(), target);
                    }
                    None => {
                        if !(is_public && is_below) {
                            module.paths.insert(written.to_vec());
                        }
                        module.globs.extend(target);
                    }
                }
            });
        }
        self.modules.insert(path.to_vec(), module);
    }

    /// Returns the file that defines the item with this path.
    fn resolve(&self, path: &[String], depth: usize) -> Option<&str> {
        if depth == 0 {
            return None;
        }
        let mut module = &self.modules[&Vec::new()];
        for (at, name) in path.iter().enumerate() {
            if module.children.contains(name) {
                module = self.modules.get(&path[..=at])?;
            } else if module.items.contains(name) {
                return Some(&module.file);
            } else if let Some(target) = module.imports.get(name) {
                return self.resolve(&joined(target.as_ref()?, &path[at + 1..]), depth - 1);
            } else {
                return module.globs.iter().find_map(|glob| self.resolve(&joined(glob, &path[at..]), depth - 1));
            }
        }
        Some(&module.file)
    }

    /// Returns the edges from each file, with the path that leads to each target.
    fn edges(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut edges: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (path, module) in &self.modules {
            let targets = edges.entry(module.file.clone()).or_default();
            for written in &module.paths {
                let target = match &written[..] {
                    [first, ..] if module.reexports.contains(first) => {
                        module.imports[first].clone().map(|target| joined(&target, &written[1..]))
                    }
                    [_] => None,
                    _ => absolute(module, path, written),
                };
                if let Some(file) = target.and_then(|target| self.resolve(&target, 8))
                    && file != module.file
                {
                    targets.entry(file.to_owned()).or_insert_with(|| written.join("::"));
                }
            }
        }
        edges
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.meta.to_token_stream().to_string() == "cfg (test)"
    })
}

/// Returns an identifier without `r#`.
fn plain(identifier: &proc_macro2::Ident) -> String {
    identifier.to_string().trim_start_matches("r#").to_owned()
}

fn joined(path: &[String], rest: &[String]) -> Segments {
    path.iter().chain(rest).cloned().collect()
}

/// Returns the name that an item defines in its module.
fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(plain(name))
}

/// Collects the paths and the `use` declarations in code, including the arguments of macros.
fn scan(code: TokenStream, paths: &mut BTreeSet<Segments>, imports: &mut Vec<UseTree>) {
    let tokens: Vec<TokenTree> = code.into_iter().collect();
    let is = |at: usize, expected: char| matches!(tokens.get(at), Some(TokenTree::Punct(c)) if c.as_char() == expected);
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) => scan(group.stream(), paths, imports),
            TokenTree::Ident(word) if word == "use" => {
                let tree: TokenStream = tokens[at + 1..]
                    .iter()
                    .take_while(|token| !matches!(token, TokenTree::Punct(c) if c.as_char() == ';'))
                    .cloned()
                    .collect();
                if let Ok(tree) = syn::parse2(tree) {
                    imports.push(tree);
                    while at < tokens.len() && !is(at, ';') {
                        at += 1;
                    }
                }
            }
            // A field or a method.
            TokenTree::Ident(_) if at > 0 && is(at - 1, '.') => {}
            TokenTree::Ident(word) => {
                let mut path = vec![plain(word)];
                while is(at + 1, ':')
                    && is(at + 2, ':')
                    && let Some(TokenTree::Ident(word)) = tokens.get(at + 3)
                {
                    path.push(plain(word));
                    at += 3;
                }
                paths.insert(path);
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        at += 1;
    }
}

/// Calls `each` with the path and the imported name of each leaf. `*` has no name.
fn flatten(tree: &UseTree, path: &mut Segments, each: &mut impl FnMut(&[String], Option<&str>)) {
    match tree {
        UseTree::Path(branch) => {
            path.push(plain(&branch.ident));
            flatten(&branch.tree, path, each);
            path.pop();
        }
        UseTree::Name(leaf) if leaf.ident == "self" => each(path, path.last().map(String::as_str)),
        UseTree::Name(leaf) => {
            path.push(plain(&leaf.ident));
            each(path, path.last().map(String::as_str));
            path.pop();
        }
        UseTree::Rename(leaf) => {
            path.push(plain(&leaf.ident));
            each(path, Some(&plain(&leaf.rename)));
            path.pop();
        }
        UseTree::Glob(_) => each(path, None),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, path, each)),
    }
}

/// Returns a path in a module as a path from the root. `None` for a path to another crate.
fn absolute(module: &Module, path: &[String], written: &[String]) -> Option<Segments> {
    let mut base = path.to_vec();
    let mut rest = written;
    match written.first().map(String::as_str) {
        Some("crate") => {
            base.clear();
            rest = &rest[1..];
        }
        Some("self") => rest = &rest[1..],
        Some("super") => {}
        Some(name) if module.children.contains(name) || module.items.contains(name) => {}
        _ => return None,
    }
    while rest.first().is_some_and(|name| name == "super") {
        base.pop();
        rest = &rest[1..];
    }
    Some(joined(&base, rest))
}

/// Returns the groups of files that reach each other, each with the edges inside of it.
fn cycles(edges: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<Vec<String>> {
    let reached = |from: &String| {
        let mut reached = BTreeSet::new();
        let mut open = vec![from];
        while let Some(file) = open.pop() {
            for next in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(next) {
                    open.push(next);
                }
            }
        }
        reached
    };
    let reach: BTreeMap<&String, BTreeSet<&String>> = edges.keys().map(|file| (file, reached(file))).collect();
    let mut groups: BTreeSet<Vec<&String>> = BTreeSet::new();
    for (file, reached) in &reach {
        if reached.contains(file) {
            groups.insert(reached.iter().copied().filter(|other| reach[other].contains(file)).collect());
        }
    }
    let inside = |group: &Vec<&String>| {
        let mut lines = Vec::new();
        for from in group {
            let inner = edges[*from].iter().filter(|(to, _)| group.contains(to));
            lines.extend(inner.map(|(to, path)| format!("{from} -> {to} ({path})")));
        }
        lines
    };
    groups.iter().map(inside).collect()
}

#[test]
fn modules_have_no_import_cycles() {
    let mut found = Vec::new();
    for folder in CRATES {
        let edges = Crate::read(&root().join(folder).join("src")).edges();
        found.extend(cycles(&edges).iter().map(|edges| format!("{folder}:\n  {}", edges.join("\n  "))));
    }
    assert!(found.is_empty(), "{} groups of files use each other:\n{}", found.len(), found.join("\n"));
}

/// Returns the edges inside the cycles of a crate with these files.
fn cycles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    cycles(&Crate::read(folder.path()).edges())
}

#[test]
fn cycle_through_reexports_and_macro_arguments_is_detected() {
    let files = [
        ("lib.rs", "mod plan;\nmod error;\npub use error::Error;"),
        ("error.rs", "mod code;\npub use code::Code;\npub struct Error;"),
        ("error/code.rs", "pub struct Code(crate::plan::Need);"),
        ("plan.rs", "pub struct Need;\nfn plan() { print!(\"{}\", crate::error::Code::of()); }"),
    ];
    let found = cycles_of(&files);
    assert_eq!(found, [["error/code -> plan (crate::plan::Need)", "plan -> error/code (crate::error::Code::of)"]]);
}

#[test]
fn cycle_between_parent_and_submodule_is_detected() {
    let found = |uses: &str| {
        let parent = format!("mod child;\npub use child::Child;\npub struct Parent;\n{uses}");
        let child = "use super::Parent;\npub struct Child(Parent);\n#[cfg(test)]\nmod tests { use super::*; }";
        cycles_of(&[("lib.rs", "mod parent;"), ("parent.rs", &parent), ("parent/child.rs", child)])
    };
    assert!(found("").is_empty());
    let found = found("fn make() -> Child { todo!() }");
    assert_eq!(found, [["parent -> parent/child (Child)", "parent/child -> parent (super::Parent)"]]);
}
