//! The whole spec, parsed and checked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::hint::{self, closest};
use super::{
    Base, BaseSpec, BundleSpec, DiskSource, DiskSpec, ImageSpec, IndexSpec, LayerSpec, SeedSpec, Source,
};
use crate::Key;

/// A whole spec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Spec {
    /// Layers by name.
    pub layer: BTreeMap<Key, LayerSpec>,
    /// Images by name.
    pub image: BTreeMap<Key, ImageSpec>,
    /// Indexes by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub index: BTreeMap<Key, IndexSpec>,
    /// Bundles by name.
    pub bundle: BTreeMap<Key, BundleSpec>,
    /// Seeds by name.
    pub seed: BTreeMap<Key, SeedSpec>,
    /// Disks by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub disk: BTreeMap<Key, DiskSpec>,
}

/// Says why a spec cannot be read; names the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{message}{excerpt}")]
pub struct SpecError {
    /// `LINE:COLUMN: `, or the path of keys with `: ` behind it.
    place: String,
    message: String,
    /// The line that is wrong and a mark below it, or nothing.
    excerpt: String,
    hint: Option<String>,
}

impl SpecError {
    fn at(place: String, message: impl Into<String>) -> Self {
        Self { place: format!("{place}: "), message: message.into(), excerpt: String::new(), hint: None }
    }

    /// Returns advice for the person who wrote the spec.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl Spec {
    /// Parses a spec in TOML and checks it.
    ///
    /// # Errors
    /// Bad syntax, unknown keys, wrong types, with line and column; names that the spec does not define.
    pub fn parse_toml(text: &str) -> Result<Self, SpecError> {
        let spec: Self = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            let found = text.get(span.clone()).unwrap_or_default();
            syntax_error(text, line_and_column(text, span.start), error.message(), found)
        })?;
        spec.check()?;
        Ok(spec)
    }

    /// Parses a spec in JSON and checks it.
    ///
    /// # Errors
    /// As [`Spec::parse_toml`].
    pub fn parse_json(text: &str) -> Result<Self, SpecError> {
        let spec: Self = serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
            syntax_error(text, (error.line(), error.column()), message, "")
        })?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), SpecError> {
        self.layer.iter().try_for_each(|(name, layer)| self.check_layer(name, layer))?;
        self.image.iter().try_for_each(|(name, image)| self.check_image(name, image))?;
        self.index.iter().try_for_each(|(name, index)| self.check_index(name, index))?;
        self.bundle.iter().try_for_each(|(name, bundle)| self.check_bundle(name, bundle))?;
        self.seed.iter().try_for_each(|(name, seed)| self.check_seed(name, seed))?;
        self.disk.iter().try_for_each(|(name, disk)| self.check_disk(name, disk))?;
        self.check_circles()
    }

    fn check_layer(&self, name: &Key, layer: &LayerSpec) -> Result<(), SpecError> {
        for (index, add) in layer.add.iter().enumerate() {
            let place = || format!("layer.{name}.add[{index}]");
            let entry = add.entry().map_err(|error| SpecError::at(place(), error.to_string()))?;
            if let Source::Layer(other) = &entry.source {
                defined(&self.layer, other, "layer", place)?;
            }
        }
        layer
            .check_rules()
            .map_err(|(index, error)| SpecError::at(format!("layer.{name}.set[{index}]"), error))
    }

    fn check_image(&self, name: &Key, image: &ImageSpec) -> Result<(), SpecError> {
        let place = || format!("image.{name}");
        for layer in &image.layers {
            defined(&self.layer, layer, "layer", || format!("image.{name}.layers"))?;
        }
        if let Some(base) = &image.base {
            self.check_base(base, || format!("image.{name}.base"))?;
        }
        image.problem().map_or(Ok(()), |problem| Err(SpecError::at(place(), problem)))
    }

    fn check_base(&self, base: &BaseSpec, place: impl Fn() -> String) -> Result<(), SpecError> {
        match base.place().map_err(|error| SpecError::at(place(), error.to_string()))? {
            Base::Image(image) => defined(&self.image, image, "image", place),
            Base::Layout(_) | Base::Archive(_) => Ok(()),
        }
    }

    fn check_index(&self, name: &Key, index: &IndexSpec) -> Result<(), SpecError> {
        for image in &index.images {
            defined(&self.image, image, "image", || format!("index.{name}.images"))?;
        }
        if let Some(base) = &index.base {
            self.check_base(base, || format!("index.{name}.base"))?;
        }
        index.problem().map_or(Ok(()), |problem| Err(SpecError::at(format!("index.{name}"), problem)))
    }

    fn check_bundle(&self, name: &Key, bundle: &BundleSpec) -> Result<(), SpecError> {
        for image in bundle.images.values() {
            defined(&self.image, image, "image", || format!("bundle.{name}.images"))?;
        }
        for index in bundle.indexes.values() {
            defined(&self.index, index, "index", || format!("bundle.{name}.indexes"))?;
        }
        bundle.problem().map_or(Ok(()), |problem| Err(SpecError::at(format!("bundle.{name}"), problem)))
    }

    /// Refuses layers and images that are made of themselves.
    fn check_circles(&self) -> Result<(), SpecError> {
        let layers = |key: &Key| -> Vec<Key> { self.layer[key].layers().cloned().collect() };
        let images = |key: &Key| -> Vec<Key> {
            self.image[key].base.iter().filter_map(|base| base.image.clone()).collect()
        };
        let circle = |kind: &str, circle: Vec<Key>| {
            let names: Vec<_> = circle.iter().map(|key| format!("`{key}`")).collect();
            SpecError::at(
                format!("{kind}.{}", circle[0]),
                format!("it is made of itself: {}", names.join(" of ")),
            )
        };
        in_order(self.layer.keys(), layers).map_err(|found| circle("layer", found))?;
        in_order(self.image.keys(), images).map_err(|found| circle("image", found))?;
        Ok(())
    }

    fn check_seed(&self, name: &Key, seed: &SeedSpec) -> Result<(), SpecError> {
        if seed.image.is_empty() {
            return Err(SpecError::at(format!("seed.{name}"), "it has no `image`"));
        }
        if let Some(problem) = seed.problem() {
            return Err(SpecError::at(format!("seed.{name}"), problem));
        }
        for (index, entry) in seed.image.iter().enumerate() {
            let place = || format!("seed.{name}.image[{index}]");
            defined(&self.image, &entry.image, "image", place)?;
            if entry.namespaces.is_empty() {
                return Err(SpecError::at(place(), "`namespaces` is empty"));
            }
        }
        Ok(())
    }

    fn check_disk(&self, name: &Key, disk: &DiskSpec) -> Result<(), SpecError> {
        let place = || format!("disk.{name}");
        let source = disk.source().map_err(|error| SpecError::at(place(), error.to_string()))?;
        match source {
            DiskSource::Seed(seed) => defined(&self.seed, seed, "seed", place),
            DiskSource::Layer(layer) => defined(&self.layer, layer, "layer", place),
            DiskSource::Image(image) => defined(&self.image, image, "image", place),
            DiskSource::Store(store) => {
                defined(&self.seed, &store.seed, "seed", place)?;
                if self.seed[&store.seed].stores.contains(&store.engine) {
                    return Ok(());
                }
                let (seed, engine) = (&store.seed, store.engine.as_str());
                Err(SpecError::at(place(), format!("`seed.{seed}` has no `{engine}` among its `stores`")))
            }
        }
    }
}

/// Sorts keys so that each comes after those that it needs.
///
/// # Errors
/// A circle: keys each of which needs the next, from one back to itself.
pub fn in_order<'a>(
    keys: impl Iterator<Item = &'a Key>,
    needs: impl Fn(&Key) -> Vec<Key>,
) -> Result<Vec<Key>, Vec<Key>> {
    fn visit(
        key: &Key,
        needs: &impl Fn(&Key) -> Vec<Key>,
        path: &mut Vec<Key>,
        done: &mut BTreeSet<Key>,
        order: &mut Vec<Key>,
    ) -> Result<(), Vec<Key>> {
        if done.contains(key) {
            return Ok(());
        }
        if let Some(start) = path.iter().position(|above| above == key) {
            return Err(path[start..].iter().chain([key]).cloned().collect());
        }
        path.push(key.clone());
        for need in needs(key) {
            visit(&need, needs, path, done, order)?;
        }
        path.pop();
        done.insert(key.clone());
        order.push(key.clone());
        Ok(())
    }
    let (mut done, mut order) = (BTreeSet::new(), Vec::new());
    for key in keys {
        visit(key, &needs, &mut Vec::new(), &mut done, &mut order)?;
    }
    Ok(order)
}

fn defined<T>(
    all: &BTreeMap<Key, T>,
    name: &Key,
    kind: &str,
    place: impl FnOnce() -> String,
) -> Result<(), SpecError> {
    if all.contains_key(name) {
        return Ok(());
    }
    let mut error = SpecError::at(place(), format!("{kind} `{name}` is not defined in this spec"));
    error.hint = closest(name.as_str(), all.keys().map(Key::as_str));
    Err(error)
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Says what a parser says; `found` is the text of the value that it says it of, if that is known.
fn syntax_error(text: &str, place: (usize, usize), message: &str, found: &str) -> SpecError {
    let message = message.trim().replace('\n', ", ");
    let hint = hint::of_parser(&message, found);
    let (line, column) = place;
    let excerpt = excerpt(text, place);
    SpecError { place: format!("{line}:{column}: "), message: hint::plain(&message), excerpt, hint }
}

/// Shows the line with a mark below the place; nothing of one that no terminal has room for.
fn excerpt(text: &str, (line, column): (usize, usize)) -> String {
    let Some(shown) = line.checked_sub(1).and_then(|line| text.lines().nth(line)) else {
        return String::new();
    };
    if shown.trim().is_empty() || shown.chars().count() > MAX_EXCERPT {
        return String::new();
    }
    let (number, shown) = (line.to_string(), shown.replace('\t', " "));
    let (margin, before) = (" ".repeat(number.len()), " ".repeat(column.saturating_sub(1)));
    format!("\n  {number} | {shown}\n  {margin} | {before}^")
}

/// A line that is longer wraps, and the mark would stand below another place.
const MAX_EXCERPT: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Class;

    const GOOD: &str = r#"
[layer.site]
add = [
  { file = "a", to = "/a", mode = "0600", owner = "1:2" },
  { dir = "d" }, { dir = "d", to = "/d" },
  { text = "x", to = "/x" },
  { symlink = "/x", to = "/y" },
  { mkdir = "/var", mode = "1777" },
]
[image.web]
layers = ["site"]
[bundle.web]
format = "oci-archive"
images = { "docker.io/library/web:1" = "web" }
[seed.s]
stores = ["archives"]
image = [{ image = "web", name = "docker.io/library/web:1" }]
"#;

    #[test]
    fn toml_and_json_have_one_shape() {
        let spec = Spec::parse_toml(GOOD).expect("good");
        let json = String::from_utf8(crate::json::encode(&spec)).expect("UTF-8");
        assert_eq!(Spec::parse_json(&json).expect("own JSON"), spec);
        let seed = &spec.seed.values().next().expect("one").image[0];
        assert_eq!((seed.namespaces[0].as_str(), seed.class, seed.pin), ("k8s.io", Class::Critical, true));
    }

    #[test]
    fn mistakes_have_place_and_hint() {
        let cases = [
            ("[layer.a]\nad = []", "2:1: unknown field `ad`", Some("did you mean `add`?")),
            (
                "[layer.a]\nadd = 3",
                "2:7: invalid type: integer `3`",
                Some("a list stands in brackets: `[3]`"),
            ),
            ("[layer.a]\nadd = [{ mkdir = \"/a\", mode = \"9\" }]", "2:31: mode `9` is not", None),
            ("[layer.A]", "1:8: name `A` does not match", None),
            (
                "[image.a]\nlayers = [\"b\"]\n[layer.c]",
                "image.a.layers: layer `b` is not",
                Some("did you mean `c`?"),
            ),
            ("[layer.a]\nadd = [{ to = \"/a\" }]", "layer.a.add[0]: expected exactly one of", None),
            ("[layer.a]\nadd = [{ file = \"a\" }]", "layer.a.add[0]: `file` needs the key `to`", None),
            (
                "[layer.a]\nadd = [{ file = \"a\", to = \"/../a\" }]",
                "2:27: path `/../a` has a `..` part",
                None,
            ),
            ("[image.a]", "image.a: it has neither", None),
            ("[layer.a]\nadd = [{ layer = \"other\" }]", "layer.a.add[0]: layer `other` is not", None),
            (
                "[layer.a]\nadd = [{ layer = \"b\" }]\n[layer.b]\nadd = [{ layer = \"a\" }]",
                "layer.a: it is made of itself: `a` of `b` of `a`",
                None,
            ),
            ("[image.a]\nbase = { image = \"a\" }", "image.a: it is made of itself: `a` of `a`", None),
            (
                "[image.a]\nbase = { layout = \"b\", archive = \"b\" }",
                "image.a.base: expected exactly one",
                None,
            ),
            ("[index.a]", "index.a: it has neither", None),
            ("[layer.a]\nset = [{ path = \"a\" }]", "layer.a.set[0]: it says nothing", None),
            ("[layer.a\n", "1:9: ", None),
        ];
        for (text, message, hint) in cases {
            let error = Spec::parse_toml(text).expect_err(text);
            assert!(error.to_string().starts_with(message), "{error} for {text}");
            assert_eq!(error.hint(), hint, "{text}");
        }
        let error = Spec::parse_json("{\"layer\": {\"a\": {\n \"ad\": []}}}").expect_err("unknown");
        assert!(error.to_string().starts_with("2:5: unknown field `ad`"), "{error}");
    }
}
