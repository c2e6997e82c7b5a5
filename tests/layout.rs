//! The rules of the house that a compiler does not check (CONTRIBUTING.md, "Style"): short files, rooms that do not
//! import each other in a circle, libraries that name no flag.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The folders of sources, a crate each.
const CRATES: [&str; 11] = [
    "src",
    "model/src",
    "model/cubes/src",
    "model/files/src",
    "model/gguf/src",
    "model/kernels/src",
    "model/pickle/src",
    "src/serve",
    "datasets/src",
    "training/src",
    "training/report/src",
];
/// The rooms of the root crate that belong to the program.
const PROGRAM: [&str; 5] = ["src/cli", "src/commands", "src/terminal", "src/hub", "src/main.rs"];

/// A page that shows how other programs are called.
const OTHER_PROGRAMS: &str = "src/run/export/page.rs";

/// A module by the names on its way, such as `["backend", "cuda"]`; the crate's root has none.
type Module = Vec<String>;

#[test]
fn no_file_is_longer_than_400_lines() {
    let long: Vec<_> = files(root(), "rs")
        .into_iter()
        .map(|file| (read(&file).lines().count(), file))
        .filter(|(lines, _)| *lines > 400)
        .collect();
    assert!(long.is_empty(), "split these: {long:?}");
}

#[test]
fn the_root_crate_has_few_rooms() {
    let entries = fs::read_dir(root().join("src")).expect("src").count();
    assert!(entries <= 10, "src has {entries} entries");
}

#[test]
fn no_library_names_a_flag() {
    let libraries = CRATES.iter().flat_map(|source| files(&root().join(source), "rs"));
    let named: Vec<_> = libraries
        .filter(|file| !PROGRAM.iter().any(|room| file.starts_with(root().join(room))))
        .filter(|file| !is_test(file) && *file != root().join(OTHER_PROGRAMS))
        .flat_map(|file| {
            let lines: Vec<_> =
                code(&read(&file)).lines().filter(|l| names_a_flag(l)).map(str::to_owned).collect();
            lines.into_iter().map(move |line| format!("{}: {}", file.display(), line.trim()))
        })
        .collect();
    assert!(named.is_empty(), "say which setting is meant, the command line words it: {named:#?}");
}

#[test]
fn no_rooms_import_each_other_in_a_circle() {
    let circles: Vec<_> = CRATES.iter().flat_map(|source| circles(&root().join(source))).collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

/// Two dashes and a word; outside literals and comments Rust has no such thing.
fn names_a_flag(line: &str) -> bool {
    let flag = |(at, _)| {
        let (before, after) = (&line[..at], &line[at + 2..]);
        after.starts_with(|c: char| c.is_ascii_lowercase())
            && !before.ends_with(|c: char| c == '-' || c.is_alphanumeric())
            // A property of a style sheet is no flag.
            && !before.ends_with("var(")
    };
    line.match_indices("--").any(flag)
}

/// The circles of `source`: for each parent, its children with all that is in them are taken as one, and so a parent
/// and its own children never count.
fn circles(source: &Path) -> Vec<String> {
    let files = files(source, "rs").into_iter().filter(|file| !is_test(file));
    let modules: BTreeMap<Module, PathBuf> = files.map(|file| (module(source, &file), file)).collect();
    // Parent -> child -> children beside it that it imports from.
    let mut imports = BTreeMap::<&[String], BTreeMap<&[String], BTreeSet<&[String]>>>::new();
    for (from, file) in &modules {
        for path in paths(&code(&read(file)), from) {
            let Some(to) = (0..=path.len()).rev().find_map(|n| modules.get_key_value(&path[..n])) else {
                continue;
            };
            let to = to.0;
            let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
            if shared < from.len().min(to.len()) {
                let children = imports.entry(&from[..shared]).or_default();
                children.entry(&from[..=shared]).or_default().insert(&to[..=shared]);
            }
        }
    }
    let mut found = Vec::new();
    for children in imports.values() {
        for child in children.keys() {
            let mut reached = BTreeSet::new();
            let mut next = vec![*child];
            while let Some(at) = next.pop() {
                next.extend(children.get(at).into_iter().flatten().filter(|to| reached.insert(**to)));
            }
            if reached.contains(child) {
                let of = children[child].iter().map(|to| to.join("::")).collect::<Vec<_>>().join(", ");
                found.push(format!("{}: {} imports {of}", source.display(), child.join("::")));
            }
        }
    }
    found
}

/// All paths of `code` that start at the crate or at a parent, in full.
fn paths(code: &str, module: &Module) -> Vec<Module> {
    let mut found = Vec::new();
    for (word, up) in [("crate::", module.len()), ("super::", 1)] {
        for (at, _) in code.match_indices(word) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let mut rest = &code[at + word.len()..];
            let mut start = module[..module.len().saturating_sub(up)].to_vec();
            while let Some(higher) = rest.strip_prefix("super::") {
                start.pop();
                rest = higher;
            }
            tree(&mut rest, &start, &mut found);
        }
    }
    found
}

/// Reads `a::{b, c::d}` off `text` and adds what it names under `start`.
fn tree(text: &mut &str, start: &[String], found: &mut Vec<Module>) {
    let mut path = start.to_vec();
    loop {
        *text = text.trim_start();
        if let Some(inner) = text.strip_prefix('{') {
            *text = inner;
            while !text.trim_start().starts_with('}') && !text.is_empty() {
                tree(text, &path, found);
                // What follows a name within braces (` as other`) says nothing about modules.
                *text = &text[text.find([',', '}']).unwrap_or(text.len())..];
                *text = text.strip_prefix(',').unwrap_or(text);
            }
            *text = text.trim_start().strip_prefix('}').unwrap_or("");
            return;
        }
        let name = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
        path.push(text[..name].to_owned());
        *text = &text[name..];
        match text.strip_prefix("::") {
            Some(rest) => *text = rest,
            None => return found.push(path),
        }
    }
}

/// The module that `file` is in the crate whose sources stand in `source`.
fn module(source: &Path, file: &Path) -> Module {
    let within = file.strip_prefix(source).expect("a file of the crate").with_extension("");
    let mut names: Module = within.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    names.pop_if(|name| name == "mod" || name == "lib");
    names
}

/// The text of a file without comments and without the tests at its end.
fn code(text: &str) -> String {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
    lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn is_test(file: &Path) -> bool {
    let within = file.strip_prefix(root()).unwrap_or(file);
    within.iter().any(|name| name.to_string_lossy().contains("test"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("a source file")
}

/// All files under `folder` with that extension, build outputs and hidden folders aside.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}
