//! Whatever a manifest lists is used: a dependency of a crate in its sources, one for tests in its
//! tests, and one of the workspace by some crate. Reads manifests and sources, so it needs neither
//! another tool nor a registry.

mod sources;

use std::collections::BTreeSet;

use sources::{CRATES, Source, assert_none, root, rust};

/// What `manifest` lists in `section`, by name.
fn listed(manifest: &str, section: &str) -> Vec<String> {
    let head = format!("[{section}]");
    let lines = manifest.lines().skip_while(|line| *line != head).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let name = |line: &str| {
        let (name, _) = line.split_once(['.', ' ', '='])?;
        (!name.is_empty() && !name.starts_with('#')).then(|| name.to_owned())
    };
    lines.filter_map(name).collect()
}

/// Whether the code of `source` names the crate `package`: in a path, an import or an attribute.
fn names(source: &str, package: &str) -> bool {
    let word = package.replace('-', "_");
    let is_of_word = |character: char| character.is_alphanumeric() || character == '_';
    let is_use = |(at, _): (usize, &str)| {
        let (before, after) = (&source[..at], &source[at + word.len()..]);
        let is_attribute = before.ends_with("#[") && after.starts_with('(');
        let is_path = after.starts_with("::") && !before.ends_with("::");
        let is_import = before.ends_with("use ") && after.starts_with([';', ' ']);
        !before.ends_with(is_of_word) && (is_path || is_import || is_attribute)
    };
    let code_starts = |(at, _): &(usize, &str)| {
        let line = source[..*at].rfind('\n').map_or(0, |end| end + 1);
        !source[line..*at].contains("//")
    };
    let mut found = source.match_indices(&word).filter(code_starts);
    found.any(is_use)
}

fn manifest_of(member: &str) -> String {
    let path = root().join(member).join("Cargo.toml");
    std::fs::read_to_string(path).expect("a crate has a manifest")
}

#[test]
fn every_dependency_is_used() {
    let mut unused = Vec::new();
    let mut used = BTreeSet::new();
    let mut check = |member: &str, section: &str, is_used: &dyn Fn(&str) -> bool| {
        for package in listed(&manifest_of(member), section) {
            if !is_used(&package) {
                unused.push(format!("{member}/Cargo.toml: {section}: {package}"));
            }
            used.insert(package);
        }
    };
    for member in CRATES {
        let sources = rust(&[member], &["src"]);
        let product: Vec<&str> = sources
            .iter()
            .filter(|source| !source.is_test())
            .map(Source::product)
            .collect();
        check(member, "dependencies", &|package| {
            product.iter().any(|text| names(text, package))
        });
        let all = rust(&[member], &["src", "tests", "examples"]);
        check(member, "target.'cfg(loom)'.dev-dependencies", &|package| {
            sources.iter().any(|source| names(&source.text, package))
        });
        check(member, "dev-dependencies", &|package| {
            let is_of_tests = |source: &&Source| !source.name.contains("/src/");
            let modules = sources.iter().map(|source| match source.is_test() {
                true => &source.text[..],
                false => &source.text[source.product().len()..],
            });
            let files = all.iter().filter(is_of_tests).map(|s| &s.text[..]);
            modules.chain(files).any(|text| names(text, package))
        });
    }
    let workspace = manifest_of("");
    let all = listed(&workspace, "workspace.dependencies");
    let of_nobody = all.iter().filter(|package| !used.contains(*package));
    unused.extend(of_nobody.map(|package| format!("Cargo.toml: {package}: no crate lists it")));
    println!("dependencies: {} used, {} unused", used.len(), unused.len());
    assert!(used.len() > 20, "only {} found", used.len());
    assert_none(&unused);
}

#[test]
fn a_dependency_is_used_by_code_and_by_nothing_else() {
    assert!(names("use serde::Serialize;", "serde"));
    assert!(names("    #[serde(default)]", "serde"));
    assert!(names("let x = lockstep_client::a();", "lockstep-client"));
    assert!(names("use libc;", "libc"));
    assert!(!names("use serde_json::Value;", "serde"));
    assert!(!names("// serde::Serialize", "serde"));
    assert!(!names("use crate::sim::libc::x;", "libc"));
    let manifest = "[package]\nname = \"a\"\n\n[dependencies]\nlibc.workspace = true\n\
                    serde = { version = \"1\" }\n\n[lints]\nworkspace = true\n";
    assert_eq!(listed(manifest, "dependencies"), ["libc", "serde"]);
}
