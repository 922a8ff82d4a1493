//! Prints every public item of a crate with its signature, and then the features that names and
//! methods need, from the JSON that rustdoc writes. What is `#[doc(hidden)]` is left out.

use std::collections::BTreeSet;
use std::error::Error;
use std::{env, fs};

use public_api::Builder;
use rustdoc_types::{Crate, FORMAT_VERSION, Id, Item, ItemEnum};

/// Auto traits that no user relies on, or that are not stable.
const UNLISTED: [&str; 4] =
    ["core::marker::Freeze", "core::marker::UnsafeUnpin", "RefUnwindSafe", "core::panic::unwind_safe::UnwindSafe"];

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: api-listing FILE.json")?;
    let text = fs::read_to_string(&path)?;
    let value: serde_json::Value = serde_json::from_str(&text)?;
    let written = &value["format_version"];
    if *written != FORMAT_VERSION {
        return Err(format!(
            "this compiler's rustdoc writes format {written} of its JSON, and this program reads {FORMAT_VERSION}: in \
             tests/api_listing/Cargo.toml, take rustdoc-types 0.{written} and the release of public-api that depends on \
             it, see that `scripts/api` shows no difference, and commit"
        )
        .into());
    }
    let api = Builder::from_rustdoc_json(&path).sorted(true).omit_blanket_impls(true).build()?;
    for item in api.items() {
        let line = item.to_string();
        if !UNLISTED.iter().any(|name| line.contains(&format!("{name} for "))) {
            println!("{line}");
        }
    }

    println!("\n# Features");
    let described: Crate = serde_json::from_value(value)?;
    let mut lines = BTreeSet::new();
    Conditions { described: &described, lines: &mut lines }.visit(described.root, "", &BTreeSet::new());
    for line in lines {
        println!("{line}");
    }
    Ok(())
}

/// Collects which features the names of a crate and the methods of its types need. rustdoc keeps a
/// `#[cfg]` where it stands: on a module, on a re-export, on an `impl` or on a method.
struct Conditions<'a> {
    described: &'a Crate,
    lines: &'a mut BTreeSet<String>,
}

impl Conditions<'_> {
    /// Visits an item that is named in `place`, where `outer` are the features that the place
    /// needs.
    fn visit(&mut self, id: Id, place: &str, outer: &BTreeSet<String>) {
        // What is not there is another crate's, or hidden.
        let Some(item) = self.described.index.get(&id) else { return };
        let features = outer | &conditions(item);
        let name = match &item.inner {
            ItemEnum::Use(reexport) => Some(&reexport.name),
            _ => item.name.as_ref(),
        };
        let path = name.map_or_else(|| place.to_owned(), |name| format!("{place}::{name}"));
        let inner = match &item.inner {
            ItemEnum::Use(reexport) => {
                let to = if reexport.is_glob { place } else { &path };
                if let Some(id) = reexport.id {
                    self.reexported(id, reexport.is_glob, to, &features);
                }
                return;
            }
            ItemEnum::Module(module) => &module.items,
            ItemEnum::Struct(item) => &item.impls,
            ItemEnum::Enum(item) => &item.impls,
            ItemEnum::Trait(item) => &item.items,
            ItemEnum::Impl(item) if item.trait_.is_none() => &item.items,
            _ => &Vec::new(),
        };
        if name.is_some() {
            self.name(&path, &features);
        }
        for id in inner {
            self.visit(*id, &path, &features);
        }
    }

    /// Visits what is re-exported as `path`, or with a glob what it contains.
    fn reexported(&mut self, id: Id, is_glob: bool, path: &str, features: &BTreeSet<String>) {
        let Some(item) = self.described.index.get(&id) else { return };
        let inner = match &item.inner {
            ItemEnum::Module(module) => &module.items,
            ItemEnum::Struct(item) => &item.impls,
            ItemEnum::Enum(item) => &item.impls,
            _ => &Vec::new(),
        };
        if !is_glob {
            self.name(path, features);
        }
        for id in inner {
            self.visit(*id, path, features);
        }
    }

    fn name(&mut self, path: &str, features: &BTreeSet<String>) {
        if !features.is_empty() {
            let features: Vec<_> = features.iter().map(|name| &**name).collect();
            self.lines.insert(format!("{}: {}", path.trim_start_matches("::"), features.join(", ")));
        }
    }
}

/// The features that an item's own `#[cfg]` names.
fn conditions(item: &Item) -> BTreeSet<String> {
    let attributes = item.attrs.iter().map(|attribute| format!("{attribute:?}"));
    let cfgs: Vec<String> = attributes.filter(|text| text.contains("CfgTrace")).collect();
    let names = cfgs.iter().flat_map(|text| text.split("value: Some(").skip(1));
    names.filter_map(|rest| rest.trim_start_matches(['\\', '"']).split(['\\', '"']).next()).map(str::to_owned).collect()
}
