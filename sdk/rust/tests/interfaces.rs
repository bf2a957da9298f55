//! The table of the standard interfaces in the macros equals their files.

use serde_json::{Value, json};

#[allow(dead_code, reason = "the macros use the rest")]
#[path = "../../macros/src/interface.rs"]
mod table;

/// Returns the interface in the format of its file. The schemas of the arguments are left out,
/// because the types of the method determine them.
fn in_format(interface: &table::Interface) -> Value {
    let operation = |operation: &table::InterfaceOperation| {
        let mut value = json!({
            "name": operation.name,
            "description": operation.description,
            "effect": operation.effect,
            "arguments": operation.arguments,
        });
        for (key, is_set) in [("input", operation.input), ("output", operation.output)] {
            if is_set {
                value[key] = true.into();
            }
        }
        value
    };
    let operations: Vec<Value> = interface.operations.iter().map(operation).collect();
    json!({ "name": interface.name, "operations": operations })
}

#[test]
fn the_table_equals_the_files_of_the_interfaces() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/interfaces");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of the interfaces") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a file");
        let mut file: Value = serde_json::from_str(&text).expect("JSON");
        let members = file.as_object_mut().expect("an object");
        members.remove("version");
        members.remove("description");
        for operation in file["operations"].as_array_mut().expect("operations") {
            let names: Vec<Value> =
                operation["arguments"].as_object().expect("arguments").keys().map(|name| json!(name)).collect();
            operation["arguments"] = names.into();
        }
        let name = file["name"].as_str().expect("a name");
        let mut table = in_format(table::named(name).expect("the interface in the table"));
        for operation in table["operations"].as_array_mut().expect("operations") {
            let mut names = operation["arguments"].as_array().expect("arguments").clone();
            names.sort_by_key(ToString::to_string);
            operation["arguments"] = names.into();
        }
        assert_eq!(table, file);
        files += 1;
    }
    assert_eq!(files, table::INTERFACES.len());
}
