//! The imports of `src/`, held to the ranks of ARCHITECTURE.md: no file imports from a rank above
//! its own, and there are no circles. Every path counts, in whatever place of the code: `use` in
//! all its forms, `crate::a::b` in a function, `super::`, and the bodies of macros. Code under
//! `#[cfg(test)]` is free.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of `src/`, which is a module: `scheme::plan`, or nothing for `lib.rs`.
#[derive(Default)]
struct File {
    uses: Vec<Use>,
    /// Paths of at least two parts, and where they are.
    paths: Vec<(Vec<String>, usize)>,
    /// Words, to see whether a name that is re-exported is used in the file itself.
    words: BTreeSet<String>,
    defined: BTreeSet<String>,
}

/// One name that a `use` brings; `*` for all of them.
struct Use {
    path: Vec<String>,
    name: String,
    line: usize,
    is_public: bool,
}

impl File {
    fn read(text: &str) -> Self {
        let mut file = Self::default();
        file.walk(text.parse().unwrap(), 0);
        file
    }

    /// Reads what stands in the file itself, or inside so many modules with a body.
    fn walk(&mut self, tokens: TokenStream, depth: usize) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Punct(punct) if punct.as_char() == '#' && is_cfg_test(&tokens[at + 1..]) => {
                    at = end_of_item(&tokens, at + 2);
                    continue;
                }
                TokenTree::Group(group) => {
                    // The name of a module may be a macro's: `mod $name { .. }`.
                    let is_module = tokens[at.saturating_sub(3)..at].iter().any(|token| token.to_string() == "mod");
                    self.walk(group.stream(), depth + usize::from(is_module && group.delimiter() == Delimiter::Brace));
                }
                TokenTree::Ident(ident) if ident == "use" => {
                    let end = (at..tokens.len()).find(|at| is_punct(&tokens, *at, ';')).unwrap_or(tokens.len());
                    let is_public = at > 0 && !is_punct(&tokens, at - 1, ';') && is_visibility(&tokens[..at]);
                    let read = self.uses.len();
                    self.read_use(&tokens[at + 1..end], Vec::new(), is_public);
                    self.uses[read..].iter_mut().for_each(|import| seen_from_the_file(&mut import.path, depth));
                    at = end;
                }
                TokenTree::Ident(ident) => {
                    let line = ident.span().start().line;
                    let mut path = vec![ident.to_string()];
                    while is_punct(&tokens, at + 1, ':') && is_punct(&tokens, at + 2, ':') {
                        let Some(TokenTree::Ident(next)) = tokens.get(at + 3) else { break };
                        path.push(next.to_string());
                        at += 3;
                    }
                    if matches!(&*path[0], "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static") {
                        self.defined.extend(tokens.get(at + 1).map(ToString::to_string));
                    }
                    self.words.insert(path[0].clone());
                    if path.len() > 1 {
                        seen_from_the_file(&mut path, depth);
                        self.paths.push((path, line));
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn read_use(&mut self, tree: &[TokenTree], mut path: Vec<String>, is_public: bool) {
        let line = tree.first().map_or(0, |token| token.span().start().line);
        let mut name = None;
        let mut tokens = tree.iter();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(ident) if ident == "as" => name = tokens.next().map(ToString::to_string),
                TokenTree::Ident(ident) => path.push(ident.to_string()),
                TokenTree::Punct(punct) if punct.as_char() == '*' => name = Some("*".to_owned()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    for tree in inner.split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ','))
                    {
                        if !tree.is_empty() {
                            self.read_use(tree, path.clone(), is_public);
                        }
                    }
                    return;
                }
                _ => {}
            }
        }
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let name = name.unwrap_or_else(|| path.last().unwrap().clone());
        self.uses.push(Use { path, name, line, is_public });
    }
}

/// Makes a path inside so many modules with a body one of the file's.
fn seen_from_the_file(path: &mut [String], depth: usize) {
    for part in path.iter_mut().take(depth).take_while(|part| *part == "super") {
        "self".clone_into(part);
    }
}

fn is_punct(tokens: &[TokenTree], at: usize, char: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == char)
}

/// Whether what comes before a `use` is `pub`, or `pub(..)`.
fn is_visibility(before: &[TokenTree]) -> bool {
    let last = match before.last() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => before.iter().nth_back(1),
        last => last,
    };
    matches!(last, Some(TokenTree::Ident(ident)) if ident == "pub")
}

fn is_cfg_test(after: &[TokenTree]) -> bool {
    let Some(TokenTree::Group(group)) = after.first() else { return false };
    let text = group.stream().to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// Where an item ends that begins at `at`, with further attributes: behind its `;` or its braces,
/// or behind the `,` of a field.
fn end_of_item(tokens: &[TokenTree], mut at: usize) -> usize {
    while is_punct(tokens, at, '#') {
        at += 2;
    }
    while at < tokens.len() {
        let is_end = match &tokens[at] {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            _ => is_punct(tokens, at, ';') || is_punct(tokens, at, ','),
        };
        at += 1;
        if is_end {
            break;
        }
    }
    at
}

/// All files, by their module.
struct Tree(BTreeMap<String, File>);

/// One import: the file, the line, and the module where what it names is defined.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    from: String,
    line: usize,
    path: String,
    to: String,
}

impl std::fmt::Display for Import {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, line, path, to } = self;
        write!(formatter, "{} imports {}: {path} in line {line}", named(from), named(to))
    }
}

fn named(module: &str) -> &str {
    if module.is_empty() { "lib" } else { module }
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}::{name}") }
}

impl Tree {
    fn read() -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![(root().join("src"), String::new())];
        while let Some((folder, module)) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                // A program is a crate of its own.
                if path == root().join("src/bin") {
                    continue;
                }
                let name = path.file_stem().unwrap().to_str().unwrap();
                let own = if matches!(name, "mod" | "lib") { module.clone() } else { join(&module, name) };
                if path.is_dir() {
                    folders.push((path, own));
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    files.insert(own, File::read(&fs::read_to_string(path).unwrap()));
                }
            }
        }
        Self(files)
    }

    /// The modules through which a path goes that stands in `module`, the last of which has what it
    /// names; none if it leads out of the crate. Deeper than `depth` re-exports, a path is a
    /// circle of names.
    fn resolve(&self, module: &str, path: &[String], depth: usize) -> Vec<String> {
        let parent = |module: &str| module.rsplit_once("::").map_or_else(String::new, |(parent, _)| parent.to_owned());
        let first = &*path[0];
        let (mut at, mut rest) = match first {
            "crate" => (String::new(), &path[1..]),
            "self" => (module.to_owned(), &path[1..]),
            "super" => (parent(module), &path[1..]),
            _ if self.0.contains_key(&join(module, first)) => (module.to_owned(), path),
            _ if depth > 0 && self.0[module].uses.iter().any(|import| import.name == first) => {
                (module.to_owned(), path)
            }
            _ => return Vec::new(),
        };
        let mut through = Vec::new();
        while let Some(name) = rest.first() {
            if name == "super" {
                at = parent(&at);
            } else if name == "self" {
            } else if self.0.contains_key(&join(&at, name)) {
                at = join(&at, name);
            } else {
                break;
            }
            rest = &rest[1..];
        }
        let (Some(name), true) = (rest.first(), depth > 0) else { return vec![at] };
        for import in &self.0[&at].uses {
            let target = if import.name == *name {
                [&import.path, &rest[1..]].concat()
            } else if import.name == "*" && !self.0[&at].defined.contains(name) {
                [&import.path, rest].concat()
            } else {
                continue;
            };
            through = self.resolve(&at, &target, if target == path { 0 } else { depth - 1 });
            let is_there = import.name != "*" || through.last().is_some_and(|last| self.0[last].defined.contains(name));
            if is_there && !through.is_empty() {
                break;
            }
            through.clear();
        }
        // What is in no other module of the crate is here, if only as the name of another crate's.
        through.insert(0, at);
        through
    }

    /// Every import between two files: those of all names, and those of names that the file itself
    /// uses, and does not only hand on.
    fn imports(&self) -> (BTreeSet<Import>, BTreeSet<Import>) {
        let (mut all, mut used) = (BTreeSet::new(), BTreeSet::new());
        for (from, file) in &self.0 {
            let uses = file
                .uses
                .iter()
                .map(|import| (&import.path, import.line, !import.is_public || file.words.contains(&import.name)));
            let paths = file.paths.iter().map(|(path, line)| (path, *line, true));
            for (path, line, is_used) in uses.chain(paths) {
                let through = self.resolve(from, path, 8);
                let import = |to: &String| Import { from: from.clone(), line, path: path.join("::"), to: to.clone() };
                all.extend(through.iter().filter(|to| *to != from).map(import));
                used.extend(through.last().filter(|to| *to != from && is_used).map(import));
            }
        }
        (all, used)
    }
}

/// The table of ARCHITECTURE.md: the rank of each file or folder, and what imports which of its own
/// rank.
struct Ranks {
    ranks: BTreeMap<String, u8>,
    siblings: BTreeSet<(String, String)>,
}

impl Ranks {
    fn read() -> Self {
        let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
        let (mut ranks, mut siblings) = (BTreeMap::new(), BTreeSet::new());
        let table =
            text.lines().skip_while(|line| *line != "## Ranks").skip(1).take_while(|line| !line.starts_with("## "));
        let names = |cell: &str| -> Vec<String> {
            let quoted = cell.split('`').skip(1).step_by(2);
            quoted.map(|name| name.trim_end_matches(['/']).trim_end_matches(".rs").replace('/', "::")).collect()
        };
        for row in table.filter(|line| line.starts_with("| ")) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let Ok(rank) = cells[0].parse() else { continue };
            for name in names(cells[1]) {
                assert!(ranks.insert(name.clone(), rank).is_none(), "{name} has two ranks");
            }
            for sentence in cells[2].split(';').filter(|sentence| !sentence.is_empty()) {
                let (from, to) = sentence.split_once(" from ").unwrap_or_else(|| panic!("unclear: {sentence}"));
                for from in names(from) {
                    siblings.extend(names(to).into_iter().map(|to| (from.clone(), to)));
                }
            }
        }
        Self { ranks, siblings }
    }

    /// The row of the table that a module belongs to, and its rank.
    fn of<'a>(&self, module: &'a str) -> (&'a str, u8) {
        let unit = named(module.split("::").next().unwrap());
        let rank = self.ranks.get(unit);
        (unit, *rank.unwrap_or_else(|| panic!("{unit} has no rank: give it one in ARCHITECTURE.md")))
    }

    fn allow(&self, import: &Import) -> bool {
        let ((from, own), (to, rank)) = (self.of(&import.from), self.of(&import.to));
        let is_sibling = || own == rank && self.siblings.contains(&(from.to_owned(), to.to_owned()));
        rank < own || from == to || (from == "lib" && to == "guide") || is_sibling()
    }
}

#[test]
fn a_file_imports_only_from_the_ranks_below_it() {
    let (tree, ranks) = (Tree::read(), Ranks::read());
    for name in ranks.ranks.keys().filter(|name| *name != "lib") {
        assert!(tree.0.contains_key(name), "{name} of ARCHITECTURE.md is not in src/");
    }
    let (all, _) = tree.imports();
    assert!(all.len() > 400, "only {} imports were found", all.len());
    let wrong = all.iter().filter(|import| !ranks.allow(import));
    let wrong = one_each(wrong);
    assert!(wrong.is_empty(), "imports from above, or from the same rank:\n{wrong}");
    let pairs: BTreeSet<_> = all.iter().map(|import| (ranks.of(&import.from).0, ranks.of(&import.to).0)).collect();
    for (from, to) in &ranks.siblings {
        assert!(
            pairs.contains(&(from.as_str(), to.as_str())),
            "{from} no longer imports from {to}: see ARCHITECTURE.md"
        );
    }
}

/// A line for the first import of each pair of modules.
fn one_each<'a>(imports: impl Iterator<Item = &'a Import>) -> String {
    let mut pairs = BTreeSet::new();
    let first = imports.filter(|import| pairs.insert((&import.from, &import.to)));
    first.map(|import| format!("{import}\n")).collect()
}

/// What stands for both ends of an import in the folder that has both: two of its files or folders.
/// The file that speaks for a folder is one of its files. A layer and its service are one, for each
/// makes the other.
fn ends(import: &Import) -> (String, String) {
    let parts = |module: &str| -> Vec<String> { module.split("::").map(str::to_owned).collect() };
    let (from, to) = (parts(&import.from), parts(&import.to));
    let common = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
    let end = |parts: &[String]| match parts.get(common).map(String::as_str) {
        None => join(&parts.join("::"), "mod"),
        Some("service") => join(&parts[..common].join("::"), "layer"),
        Some(name) => join(&parts[..common].join("::"), name),
    };
    (end(&from), end(&to))
}

#[test]
fn no_files_and_no_folders_import_each_other_in_a_circle() {
    let (_, used) = Tree::read().imports();
    let imports: Vec<_> = used.iter().filter(|import| !import.from.is_empty()).collect();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for import in &imports {
        let (from, to) = ends(import);
        graph.entry(from).or_default().insert(to);
    }
    let reached = |from: String| {
        let (mut found, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(node) = open.pop() {
            open.extend(graph.get(&node).into_iter().flatten().filter(|to| found.insert((*to).clone())).cloned());
        }
        found
    };
    let circular = |import: &&&Import| {
        let (from, to) = ends(import);
        from != to && reached(to).contains(&from)
    };
    let circles = one_each(imports.iter().filter(circular).copied());
    assert!(circles.is_empty(), "imports in a circle:\n{circles}");
}
