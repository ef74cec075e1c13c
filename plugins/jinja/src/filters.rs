//! Filters that config files need, besides the engine's own (`default`, `indent`, `join`,
//! `replace`, `upper`, ...).

use minijinja::{Environment, Error, ErrorKind, Value};

/// Adds `tojson` and `toyaml`.
pub(crate) fn add(templates: &mut Environment<'static>) {
    templates.add_filter("tojson", to_json);
    templates.add_filter("toyaml", to_yaml);
}

/// JSON as it is. The engine's own filter writes `<` and `&` for browsers, which would
/// end up in config files.
fn to_json(value: &Value, indent: Option<bool>) -> Result<String, Error> {
    let json = plain(value)?;
    let text = if indent.unwrap_or(false) { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) };
    text.map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// YAML in block style, for `| toyaml | indent(4)`.
fn to_yaml(value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    write_yaml(&plain(value)?, 0, &mut out);
    Ok(out.trim_start_matches('\n').to_owned())
}

fn plain(value: &Value) -> Result<serde_json::Value, Error> {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "cannot write an undefined value"));
    }
    serde_json::to_value(value).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// Writes a value after `key:` or `-`: scalars and empty collections in the same line,
/// the rest below. Strings are quoted as JSON, which is YAML, so that none is misread.
fn write_yaml(value: &serde_json::Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        serde_json::Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                out.push_str(&format!("\n{indent}{}:", serde_json::Value::from(key.as_str())));
                write_yaml(value, depth + 1, out);
            }
        }
        serde_json::Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&format!("\n{indent}-"));
                write_yaml(item, depth + 1, out);
            }
        }
        scalar => {
            if depth > 0 {
                out.push(' ');
            }
            out.push_str(&scalar.to_string());
        }
    }
}
