//! The image configuration: the base's document with a spec's keys put over it.
//!
//! It is handled as JSON, not as a type, so that what the OCI types do not
//! know (Docker's `Healthcheck`, `Shell`, `OnBuild`) survives.

use std::collections::BTreeMap;

use ociseed_spec::file::{HistorySpec, ImageSpec};
use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::{DateTime, Platform, TreePath, json};
use serde_json::{Map, Value, json};

/// Says why a base's configuration cannot be built upon.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not JSON.
    #[error("base configuration is not valid")]
    Json(#[source] serde_json::Error),
    /// One of its fields has another type than the OCI image specification says.
    #[error("base configuration: `{0}` is not {1}")]
    Type(&'static str, &'static str),
    /// A value of the spec that no configuration can have.
    #[error("{0}")]
    Value(String),
}

/// Makes the configuration's bytes.
pub(crate) fn merge(
    base: Option<&str>,
    platform: &Platform,
    spec: &ImageSpec,
    layers: &[LayerMetadata],
) -> Result<Vec<u8>, ConfigError> {
    let mut document: Map<String, Value> = match base {
        Some(text) => serde_json::from_str(text).map_err(ConfigError::Json)?,
        None => Map::new(),
    };
    let created = spec.created.clone().unwrap_or_else(DateTime::epoch);
    document.insert("created".into(), json!(created));
    if let Some(author) = &spec.author {
        document.insert("author".into(), json!(author));
    }
    document.insert("os".into(), json!(platform.os()));
    document.insert("architecture".into(), json!(platform.architecture()));
    match platform.variant() {
        Some(variant) => document.insert("variant".into(), json!(variant)),
        None => document.remove("variant"),
    };
    run_config(object(&mut document, "config")?, spec)?;
    add_layers(&mut document, layers, spec, &created)?;
    Ok(json::encode(&document))
}

fn run_config(config: &mut Map<String, Value>, spec: &ImageSpec) -> Result<(), ConfigError> {
    if let Some(problem) = spec.value_problem() {
        return Err(ConfigError::Value(problem));
    }
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(key.into(), value);
        }
    };
    set("Entrypoint", spec.entrypoint.as_ref().map(|words| json!(words)));
    set("Cmd", spec.cmd.as_ref().map(|words| json!(words)));
    set("User", spec.user.as_ref().map(|user| json!(user)));
    set("WorkingDir", spec.working_dir.as_ref().map(|path| json!(path)));
    set("StopSignal", spec.stop_signal.as_ref().map(|signal| json!(signal)));
    if spec.entrypoint.is_some() && spec.cmd.is_none() {
        config.remove("Cmd");
    }
    if !spec.env.is_empty() {
        merge_environment(config, &spec.env)?;
    }
    add_keys(config, "Labels", spec.labels.iter().map(|(name, value)| (name.clone(), json!(value))))?;
    add_keys(config, "ExposedPorts", spec.exposed_ports.iter().map(|port| (port.clone(), json!({}))))?;
    add_keys(config, "Volumes", spec.volumes.iter().map(|path: &TreePath| (path.to_string(), json!({}))))
}

/// Replaces variables in place and appends new ones, sorted.
fn merge_environment(
    config: &mut Map<String, Value>,
    new: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let mut left = new.clone();
    let variables = list(config, "Env")?;
    // A base may have a variable twice, of which the last counts: none of its values may stay.
    variables.retain_mut(|variable| {
        let name = variable.as_str().and_then(|text| text.split('=').next()).unwrap_or_default();
        let Some((name, value)) = new.get_key_value(name) else { return true };
        *variable = json!(format!("{name}={value}"));
        left.remove(name).is_some()
    });
    variables.extend(left.into_iter().map(|(name, value)| json!(format!("{name}={value}"))));
    Ok(())
}

fn add_keys(
    config: &mut Map<String, Value>,
    field: &'static str,
    entries: impl ExactSizeIterator<Item = (String, Value)>,
) -> Result<(), ConfigError> {
    if entries.len() > 0 {
        object(config, field)?.extend(entries);
    }
    Ok(())
}

fn add_layers(
    document: &mut Map<String, Value>,
    layers: &[LayerMetadata],
    spec: &ImageSpec,
    created: &DateTime,
) -> Result<(), ConfigError> {
    let rootfs = object(document, "rootfs")?;
    rootfs.insert("type".into(), json!("layers"));
    let diff_ids = list(rootfs, "diff_ids")?;
    let base_layers = diff_ids.len();
    diff_ids.extend(layers.iter().map(|layer| json!(layer.diff_id)));
    // A history that speaks of some layers only would be wrong about which.
    if base_layers > 0 && document.get("history").is_none_or(Value::is_null) {
        return Ok(());
    }
    // A spec has as many entries as layers, or none.
    let said = spec.history.iter().cloned().map(Some).chain(std::iter::repeat(None));
    let entries = said.take(layers.len()).map(|said| history(said.unwrap_or_default(), created));
    list(document, "history")?.extend(entries);
    Ok(())
}

/// Makes the history's entry of one layer.
fn history(said: HistorySpec, created: &DateTime) -> Value {
    let HistorySpec { created_by, comment, author } = said;
    let created_by = created_by.unwrap_or_else(|| "ociseed".to_owned());
    let mut entry = json!({ "created": created, "created_by": created_by });
    for (key, value) in [("comment", comment), ("author", author)] {
        if let Some(value) = value {
            entry[key] = json!(value);
        }
    }
    entry
}

/// Returns an object field, made where it is absent or null (as Docker writes empty ones).
fn object<'a>(
    parent: &'a mut Map<String, Value>,
    field: &'static str,
) -> Result<&'a mut Map<String, Value>, ConfigError> {
    let value = parent.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut().ok_or(ConfigError::Type(field, "an object"))
}

/// Returns a list field, made where it is absent or null.
fn list<'a>(
    parent: &'a mut Map<String, Value>,
    field: &'static str,
) -> Result<&'a mut Vec<Value>, ConfigError> {
    let value = parent.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = json!([]);
    }
    value.as_array_mut().ok_or(ConfigError::Type(field, "a list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"{"os":"linux","architecture":"arm64","variant":"v8","rootfs":{"type":"layers","diff_ids":["sha256:aa"]},
        "config":{"Env":["PATH=/bin","B=1"],"Cmd":["sh"],"Healthcheck":{"Test":["NONE"]},"ExposedPorts":null},"history":null,"x":1}"#;

    fn merged(base: Option<&str>, spec: &ImageSpec) -> Value {
        let bytes = merge(base, &Platform::default(), spec, &[]).expect("good");
        serde_json::from_slice(&bytes).expect("own JSON")
    }

    #[test]
    fn unknown_fields_survive_and_known_ones_are_put_over() {
        let env = [("B", "2"), ("A", "0")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let spec = ImageSpec {
            entrypoint: Some(vec!["/init".to_owned()]),
            env: env.into(),
            exposed_ports: vec!["80/tcp".to_owned()],
            ..ImageSpec::default()
        };
        let document = merged(Some(BASE), &spec);
        assert_eq!(document["x"], json!(1));
        assert_eq!(document["variant"], Value::Null);
        let config = &document["config"];
        assert_eq!(config["Healthcheck"], json!({ "Test": ["NONE"] }));
        assert_eq!(config["Env"], json!(["PATH=/bin", "B=2", "A=0"]));
        assert_eq!(config["Cmd"], Value::Null, "an entrypoint alone drops the base's arguments");
        assert_eq!(config["ExposedPorts"], json!({ "80/tcp": {} }));
    }

    #[test]
    fn a_variable_that_the_base_has_twice_is_replaced_whole() {
        let base = r#"{"config":{"Env":["A=1","B=1","A=2","C=1","C=2"]}}"#;
        let spec = ImageSpec { env: [("A".to_owned(), "3".to_owned())].into(), ..ImageSpec::default() };
        let config = merge(Some(base), &Platform::default(), &spec, &[]).expect("good");
        let config: Value = serde_json::from_slice(&config).expect("JSON");
        assert_eq!(config["config"]["Env"], json!(["A=3", "B=1", "C=1", "C=2"]));
    }

    #[test]
    fn bad_values_are_refused() {
        let port = ImageSpec { exposed_ports: vec!["http".to_owned()], ..ImageSpec::default() };
        let name = ImageSpec { env: [("A=B".to_owned(), String::new())].into(), ..ImageSpec::default() };
        let sign = ImageSpec { exposed_ports: vec!["+80/tcp".to_owned()], ..ImageSpec::default() };
        let value = ImageSpec { env: [("A".to_owned(), "\0".to_owned())].into(), ..ImageSpec::default() };
        let argument = ImageSpec { cmd: Some(vec!["a\0".to_owned()]), ..ImageSpec::default() };
        for spec in [port, name, sign, value, argument] {
            assert!(merge(None, &Platform::default(), &spec, &[]).is_err(), "{spec:?}");
        }
        assert!(merge(Some("{\"config\":3}"), &Platform::default(), &ImageSpec::default(), &[]).is_err());
    }
}
