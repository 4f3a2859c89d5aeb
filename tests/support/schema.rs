//! A JSON Schema check, as far as kimage's own schemas go: type, const, enum, required, properties,
//! additionalProperties, items, minimum, $ref to #/$defs. A keyword it does not know fails the test: nothing is passed over.

#![allow(unreachable_pub, reason = "a module of a test")]

use serde_json::Value;

/// Fails unless `value` is what `schema` describes.
#[track_caller]
pub fn assert_valid(schema: &str, value: &Value) {
    let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
    let mut wrong = Vec::new();
    check(&schema, &schema, value, "$", &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" => {}
            "$ref" => {
                let name = rule.as_str().and_then(|path| path.strip_prefix("#/$defs/")).expect("a local reference");
                check(root, &root["$defs"][name], value, at, wrong);
            }
            "const" if rule != value => wrong.push(format!("{at}: {value}, wanted {rule}")),
            "enum" if !rule.as_array().unwrap().contains(value) => wrong.push(format!("{at}: {value}, none of {rule}")),
            "const" | "enum" => {}
            "type" => {
                let types = rule.as_array().map_or_else(|| vec![rule], |list| list.iter().collect());
                if !types.iter().any(|name| is_type(name.as_str().unwrap(), value)) {
                    wrong.push(format!("{at}: {value} is not of type {rule}"));
                }
            }
            "minimum" => {
                if value.as_i64().is_some_and(|value| value < rule.as_i64().unwrap()) {
                    wrong.push(format!("{at}: {value} is below {rule}"));
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        wrong.push(format!("{at}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check(root, schema, value, &format!("{at}.{name}"), wrong);
                    }
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, value) in value.as_object().into_iter().flatten() {
                    let is_known = known.is_some_and(|known| known.contains_key(name));
                    match rule {
                        _ if is_known => {}
                        Value::Bool(false) => wrong.push(format!("{at}: {name} is not in the schema")),
                        rule => check(root, rule, value, &format!("{at}.{name}"), wrong),
                    }
                }
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, value, &format!("{at}[{index}]"), wrong);
                }
            }
            other => wrong.push(format!("{at}: the schema has a keyword that this check does not know: {other}")),
        }
    }
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("a type that this check does not know: {other}"),
    }
}
