//! Operations over several blocks: their descriptions in the manifest, and their invocation.

use blockyard_sdk::prelude::*;
use blockyard_sdk::{Bundle as _, Operations as _};

/// A collection of animals.
///
/// Kinds of animals:
/// - mammals,
///   which are warm-blooded
/// - reptiles
#[derive(Block)]
#[block(type = "zoo", version = 1, title = "Zoo", interfaces(interface::Notification, interface::Credentials))]
struct Zoo {
    /// Name of the zoo,
    /// as on the sign.
    ///
    /// ```text
    /// ZOO
    /// ```
    name: String,
}

/// A page of a list.
#[data]
struct Page {
    /// Maximum number of animals,
    /// per page.
    size: u32,
    /// Token of the page.
    #[serde(rename = "pageToken")]
    token: Option<String>,
}

/// Sort order.
#[data]
enum Order {
    /// From A
    /// to Z.
    Ascending,
    /// From Z to A.
    Descending,
}

#[operations(parts(care, care::food))]
impl Zoo {
    /// Lists the animals.
    ///
    /// 1. One page
    ///    at a time.
    /// 2. In order.
    #[operation(read, safe("POST https://zoo.example/v1/search"))]
    fn list(
        &self,
        /// Prefix of the names.
        #[block(language = "sql")]
        prefix: String,
        #[flatten] page: Page,
        /// Order of the names.
        order: Option<Order>,
    ) -> Result<String> {
        let order = match order {
            Some(Order::Descending) => "descending",
            Some(Order::Ascending) => "ascending",
            None => "unordered",
        };
        Ok(format!("{prefix}* {} {:?} {order}", page.size, page.token))
    }

    #[validate]
    fn validate(&self) -> Vec<Violation> {
        vec![Violation::new("/name", format!("`{}` is taken", self.name))]
    }
}

mod care {
    use super::*;

    #[operations(part)]
    impl Zoo {
        /// Cleans a cage.
        #[operation(write, repeatable)]
        fn clean_cage(
            &self,
            /// Key of the request.
            #[block(idempotency_key)]
            key: Option<String>,
        ) -> Result<Option<String>> {
            Ok(key)
        }
    }

    pub(super) mod food {
        use super::*;

        #[operations(part)]
        impl Zoo {
            /// Feeds the animals.
            #[operation(write)]
            fn feed(&self) -> Result<&'static str> {
                Ok("fed")
            }

            /// Has arguments with the names of variables in the generated code.
            #[operation(read)]
            fn name_all(
                &self,
                /// First.
                parameters: u8,
                /// Second.
                call: u8,
                /// Third.
                block: u8,
                #[flatten] operation: Page,
            ) -> Result<String> {
                Ok(format!("{parameters} {call} {block} {}", operation.size))
            }
        }
    }
}

#[operations]
impl interface::Notification for Zoo {
    fn notify(
        &self,
        /// Subject.
        subject: Option<String>,
        /// Text.
        body: String,
        /// Loudness.
        volume: Option<u8>,
    ) -> Result<String> {
        Ok(format!("{}: {body} {volume:?}", subject.unwrap_or_default()))
    }
}

#[operations]
impl interface::Credentials for Zoo {
    /// Returns the name of the zoo.
    fn describe(&self) -> Result<&'static str> {
        Ok("zoo")
    }
}

bundle! {
    name: "zoo",
    description: "Animals",
    types: [Zoo],
    capabilities: [],
}

fn described() -> Value {
    BlockyardBundle::manifest()
}

fn operation(name: &str) -> Value {
    let manifest = described();
    let operations = manifest["types"][0]["operations"].as_array().expect("operations").clone();
    operations.into_iter().find(|operation| operation["name"] == name).expect("the operation")
}

fn invoke(operation: &str, arguments: Value) -> Result<Value> {
    let zoo = Zoo { name: "Berlin".to_owned() };
    zoo.invoke(operation, arguments, None).map(|reply| reply.result().clone())
}

#[test]
fn the_manifest_lists_the_operations_of_all_blocks() {
    let manifest = described();
    let zoo = &manifest["types"][0];
    assert_eq!(zoo["interfaces"], json!(["notification", "credentials"]));
    let names: Vec<&Value> = zoo["operations"].as_array().expect("operations").iter().map(|o| &o["name"]).collect();
    assert_eq!(json!(names), json!(["notify", "describe", "list", "clean-cage", "feed", "name-all"]));
}

#[test]
fn operations_of_all_blocks_are_invoked() {
    assert_eq!(invoke("feed", json!({})).expect("fed"), "fed");
    assert_eq!(invoke("clean-cage", json!({"key": "k"})).expect("cleaned"), "k");
    assert_eq!(invoke("describe", json!({})).expect("described"), "zoo");
    let named = invoke("name-all", json!({"parameters": 1, "call": 2, "block": 3, "size": 4})).expect("named");
    assert_eq!(named, "1 2 3 4");
    let notified = invoke("notify", json!({"body": "open", "volume": 3})).expect("notified");
    assert_eq!(notified, ": open Some(3)");
    let unknown = invoke("close", json!({})).expect_err("no such operation");
    assert_eq!(unknown.message(), "unknown operation `close`");
    assert_eq!(Zoo { name: String::new() }.validate().len(), 1);
}

#[test]
fn flattened_fields_are_arguments() {
    let list = operation("list");
    let arguments = &list["arguments"];
    assert_eq!(
        arguments["properties"],
        json!({
            "prefix": {"type": "string", "description": "Prefix of the names.", "x-language": "sql"},
            "size": {
                "type": "integer", "format": "uint32", "minimum": 0,
                "description": "Maximum number of animals, per page.",
            },
            "pageToken": {"type": ["string", "null"], "description": "Token of the page."},
            "order": {"anyOf": [{"$ref": "#/$defs/Order"}, {"type": "null"}], "description": "Order of the names."},
        })
    );
    assert_eq!(arguments["required"], json!(["prefix", "size"]));
    assert_eq!(arguments["additionalProperties"], false);
    assert_eq!(arguments["title"], "Arguments");
    assert_eq!(arguments.get("description"), None);

    let listed = invoke("list", json!({"prefix": "b", "size": 2, "pageToken": "t", "order": "Ascending"}));
    assert_eq!(listed.expect("listed"), "b* 2 Some(\"t\") ascending");
    assert_eq!(invoke("list", json!({"prefix": "b", "size": 2})).expect("listed"), "b* 2 None unordered");
}

#[test]
fn unknown_and_missing_arguments_are_rejected() {
    let message = |arguments: Value| invoke("list", arguments).expect_err("must be rejected").message().to_owned();
    assert_eq!(message(json!({"prefix": "b", "size": 2, "sice": 3})), "arguments: unknown field `sice`");
    assert_eq!(message(json!({"prefix": "b", "size": 2, "token": "t"})), "arguments: unknown field `token`");
    assert_eq!(message(json!({"prefix": "b"})), "arguments: missing field `size`");
    assert_eq!(message(json!({"size": 1})), "arguments: missing field `prefix`");
}

#[test]
fn effects_and_marks_are_described() {
    let clean = operation("clean-cage");
    assert_eq!((&clean["effect"], &clean["repeatable"]), (&json!("write"), &json!(true)));
    assert_eq!(clean["arguments"]["properties"]["key"]["x-idempotency-key"], true);
    assert_eq!(operation("feed").get("repeatable"), None);
    assert_eq!(operation("list")["safe"], json!(["POST https://zoo.example/v1/search"]));
    let notify = operation("notify");
    assert_eq!(notify["effect"], "write");
    let description = notify["description"].as_str().expect("a description");
    assert!(description.starts_with("Sends a message. Returns when"), "{description}");
    assert_eq!(notify["arguments"]["required"], json!(["body"]));
    assert_eq!(operation("describe")["description"], "Returns the name of the zoo.");
}

#[test]
fn descriptions_keep_their_structure() {
    let manifest = described();
    let zoo = &manifest["types"][0];
    let description = "A collection of animals.\n\nKinds of animals:\n- mammals, which are warm-blooded\n- reptiles";
    assert_eq!(zoo["description"], description);
    assert_eq!(zoo["schema"]["description"], description);
    assert_eq!(
        zoo["schema"]["properties"]["name"]["description"],
        "Name of the zoo, as on the sign.\n\n```text\nZOO\n```"
    );
    let list = operation("list");
    assert_eq!(list["description"], "Lists the animals.\n\n1. One page at a time.\n2. In order.");
    let order = &list["arguments"]["$defs"]["Order"];
    assert_eq!(order["description"], "Sort order.");
    assert_eq!(order["oneOf"][0]["description"], "From A to Z.");
}
