//! What holds for the source as a whole: imports run downwards, so no files import each other in a circle. A file and those below it
//! (`queue.rs` and `queue/`) are one room, and may name each other. The page that guides through the source names what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The path of a module in the crate, name by name.
type Module = Vec<String>;

/// What a module defines, and every path that it names, from the crate's root.
struct Names {
    defined: BTreeSet<String>,
    paths: Vec<Module>,
}

/// The modules of the crate with their text, without comments and unit tests.
struct Source(BTreeMap<Module, String>);

#[test]
fn no_files_import_each_other_in_a_circle() {
    let source = Source::read();
    assert!(source.0.len() > 300, "the crate's files are found: {}", source.0.len());
    let imports = source.imports();
    assert!(has(&imports, "queue::worker", "delivery"), "imports are found, also over a facade");
    let circles: Vec<String> = circles(&imports).iter().map(|circle| circle.join(" → ")).collect();
    assert!(circles.is_empty(), "these import each other:\n{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found_over_facades_and_inline_paths() {
    let file = |path: &str, text: &str| (parts(path), without_comments(text));
    let mut source = Source(BTreeMap::from([
        file("", "mod a; mod b; mod c;"),
        file("a", "mod inner;\npub use inner::{Inner, other::Thing};"),
        file("a::inner", "use crate::b::B;\npub struct Inner(B);"),
        file("b", "pub struct B;\nfn f() { crate::c::g(); }"),
        file("c", "use super::a::Inner;\nfn g() {}"),
    ]));
    assert_eq!(circles(&source.imports()), [["a::inner", "b", "c"]]);
    source.0.insert(parts("c"), without_comments("// use super::a::Inner;\nuse super::a;\nfn g() {}"));
    assert!(circles(&source.imports()).is_empty(), "the facade alone imports nothing");
}

#[test]
fn the_guide_through_the_source_names_files_that_are_there_and_every_room() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/source.md")).expect("the page");
    let spans = page.split('`').skip(1).step_by(2);
    let is_path = |span: &&str| span.ends_with(".rs") || span.ends_with('/');
    let named: BTreeSet<&str> = spans.filter(is_path).collect();
    assert!(named.len() > 50, "paths are found: {named:?}");
    let is_there = |path: &str| root.join("src").join(path).exists() || root.join(path).exists();
    let absent: Vec<_> = named.iter().filter(|path| !is_there(path)).collect();
    assert!(absent.is_empty(), "these are not there: {absent:?}");
    let mut rooms = BTreeSet::new();
    for entry in fs::read_dir(root.join("src")).expect("the folder of the source") {
        let path = entry.expect("an entry of a folder").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        if !["lib", "main"].contains(&name.as_str()) && !name.starts_with("test_") {
            rooms.insert(name);
        }
    }
    let is_named = |room: &String| named.iter().any(|path| path.split(['/', '.']).next() == Some(room));
    let unnamed: Vec<_> = rooms.iter().filter(|room| !is_named(room)).collect();
    assert!(unnamed.is_empty(), "the page does not name {unnamed:?}");
}

impl Source {
    fn read() -> Source {
        let mut all = BTreeMap::new();
        read_folder(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut Vec::new(), &mut all);
        Source(all)
    }

    /// For each module those that it takes something from.
    fn imports(&self) -> BTreeMap<String, BTreeSet<String>> {
        let names = |(module, text): (&Module, &String)| {
            (module.clone(), Names { defined: defined(text), paths: self.paths(module, text) })
        };
        let named: BTreeMap<Module, Names> = self.0.iter().map(names).collect();
        let mut imports = BTreeMap::new();
        for (module, names) in &named {
            let defining = names.paths.iter().filter_map(|path| defining(path, &named, 0));
            let others = defining.filter(|other| !other.starts_with(module) && !module.starts_with(other));
            let others: BTreeSet<String> = others.map(|other| other.join("::")).collect();
            imports.insert(module.join("::"), others);
        }
        imports
    }

    /// Every path of the crate that a module names, from the root.
    fn paths(&self, module: &Module, text: &str) -> Vec<Module> {
        let mut found = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("use ") {
            let is_first = rest[..at].trim_end_matches(' ').is_empty()
                || rest[..at].ends_with(['\n', ' ', ')']) && !rest[..at].ends_with("!");
            let (tree, behind) = rest[at + 4..].split_once(';').unwrap_or((&rest[at + 4..], ""));
            if is_first && !tree.contains(['(', '<', '=']) {
                expand("", tree, &mut found);
                rest = behind;
            } else {
                rest = &rest[at + 4..];
            }
        }
        for prefix in ["crate::", "super::"] {
            for (at, _) in text.match_indices(prefix) {
                if !text[..at].ends_with(|c: char| c == ':' || is_name(c)) {
                    let end = text[at..].find(|c: char| c != ':' && !is_name(c));
                    found.push(text[at..end.map_or(text.len(), |end| at + end)].to_owned());
                }
            }
        }
        found.iter().filter_map(|path| self.of_crate(module, path)).collect()
    }

    /// `None` for a path into another crate.
    fn of_crate(&self, module: &[String], path: &str) -> Option<Module> {
        let mut parts = parts(path);
        match parts.first()?.as_str() {
            "crate" => Some(parts.split_off(1)),
            "self" => Some([module, &parts[1..]].concat()),
            "super" => {
                let up = parts.iter().take_while(|part| *part == "super").count();
                Some([&module[..module.len().checked_sub(up)?], &parts[up..]].concat())
            }
            first => {
                let below = [module, &[first.to_owned()]].concat();
                self.0.contains_key(&below).then(|| [module, &parts].concat())
            }
        }
    }
}

/// The module that defines what a path names: facades are looked through.
fn defining(path: &[String], named: &BTreeMap<Module, Names>, depth: usize) -> Option<Module> {
    let len = (0..=path.len()).rev().find(|len| named.contains_key(&path[..*len]))?;
    let (module, rest) = path.split_at(len);
    let names = &named[module];
    if let Some(name) = rest.first()
        && depth < 10
        && !names.defined.contains(name)
        && let Some(from) = names.paths.iter().find(|it| it.last() == Some(name))
    {
        let further: Module = from.iter().chain(&rest[1..]).cloned().collect();
        return defining(&further, named, depth + 1);
    }
    Some(module.to_vec())
}

/// The names of what a module defines.
fn defined(text: &str) -> BTreeSet<String> {
    let kinds = ["struct ", "enum ", "trait ", "fn ", "type ", "const ", "static ", "mod ", "macro_rules! "];
    let behind = kinds.iter().flat_map(|kind| text.match_indices(kind).map(|(at, kind)| &text[at + kind.len()..]));
    behind.map(|text| text.chars().take_while(|c| is_name(*c)).collect()).collect()
}

fn read_folder(folder: &Path, module: &mut Module, all: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).expect("the folder of the source") {
        let path = entry.expect("an entry of a folder").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        if path.is_dir() {
            module.push(name);
            read_folder(&path, module, all);
            module.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests" {
            let text = fs::read_to_string(&path).expect("a source file");
            let own = (!["mod", "lib"].contains(&name.as_str())).then_some(name);
            all.insert(module.iter().cloned().chain(own).collect(), without_comments(&text));
        }
    }
}

/// Takes comments away, and unit tests, which stand last.
fn without_comments(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let is_tests =
        |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].contains("mod ") && pair[1].ends_with("{");
    if let Some(at) = lines.windows(2).position(|pair| is_tests(&[pair[0], pair[1].trim_end()])) {
        lines.truncate(at);
    }
    lines.join("\n")
}

/// Writes out the paths of a tree of imports.
fn expand(before: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, list)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap_or_default().trim();
        return paths.push(format!("{before}{name}"));
    };
    let (before, list) = (format!("{before}{}", head.trim()), list.strip_suffix('}').unwrap_or(list));
    let (mut depth, mut from) = (0, 0);
    for (at, c) in list.char_indices().chain([(list.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !list[from..at].trim().is_empty() {
                    expand(&before, &list[from..at], paths);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

fn parts(path: &str) -> Module {
    path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn has(imports: &BTreeMap<String, BTreeSet<String>>, module: &str, room: &str) -> bool {
    imports[module].iter().any(|other| other == room || other.starts_with(&format!("{room}::")))
}

/// The sets of modules of which each is reached from each other.
fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    // Whatever imports only what is in no circle is in none itself.
    let mut left: BTreeSet<&String> = imports.keys().collect();
    loop {
        let (before, still) = (left.len(), left.clone());
        left.retain(|module| imports[*module].iter().any(|other| still.contains(other)));
        if left.len() == before {
            break;
        }
    }
    let reached = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            next.extend(imports.get(module).into_iter().flatten().filter(|other| seen.insert((*other).clone())));
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = left.iter().map(|module| (*module, reached(module))).collect();
    let circle = |module: &String| -> Vec<String> {
        reached[module]
            .iter()
            .filter(|other| reached.get(other).is_some_and(|it| it.contains(module)))
            .cloned()
            .collect()
    };
    let all: BTreeSet<Vec<String>> =
        left.iter().map(|module| circle(module)).filter(|circle| circle.len() > 1).collect();
    all.into_iter().collect()
}
