//! Forms of the shipped block types: schema → form → answers → document loses nothing.

use blockyard::model::form::{Field, Form, Kind};
use blockyard::model::{Schema, TypeSlug};
use blockyard_tests::{TestYard, bundle, plugins};
use serde_json::{Map, Value, json};

/// Number of documents for each type.
const DOCUMENTS: u64 = 60;
/// Depth from which optional fields are left out.
const DEPTH: usize = 6;

/// A user who answers every question at random.
struct User(u64);

impl User {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }

    fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())].clone()
    }

    fn group(&mut self, group: &Field<'_>, depth: usize) -> Value {
        let mut value = json!({});
        let mut asked = Vec::new();
        while let Some(next) = group.members(&value).into_iter().find(|member| !asked.contains(&member.name)) {
            asked.push(next.name.clone());
            if next.required || depth < DEPTH && self.below(3) > 0 {
                value[&next.name] = self.answer(&next, depth + 1);
            }
        }
        value
    }

    fn answer(&mut self, field: &Field<'_>, depth: usize) -> Value {
        if field.nullable && self.below(4) == 0 {
            return Value::Null;
        }
        let count = if depth < DEPTH { self.below(3) } else { 0 };
        let text = match &field.kind {
            Kind::Group => return self.group(field, depth),
            Kind::List => return (0..count).map(|index| self.answer(&field.element(index), depth + 1)).collect(),
            Kind::Map => {
                let entry = |number| {
                    let name = format!("k.{number}");
                    let value = self.answer(&field.entry(&name), depth + 1);
                    (name, value)
                };
                return (0..count).map(entry).collect::<Map<_, _>>().into();
            }
            Kind::Variant(variants) => {
                let option = self.below(variants.len());
                return self.answer(&field.variant(option), depth + 1);
            }
            Kind::Reference(_) => "gcp-credentials/prod".to_owned(),
            Kind::Constant(value) => field.text(value).expect("a text"),
            Kind::Choice(words) => field.text(words[self.below(words.len())].value).expect("a text"),
            Kind::Text { .. } | Kind::Secret => self.pick(&["", "a\nb", "null", "é \u{202e}", "1e5"]).to_owned(),
            Kind::Integer => self.pick(&["0", "-9223372036854775808", "18446744073709551615"]).to_owned(),
            Kind::Number => self.pick(&["0.1", "-7", "1e300"]).to_owned(),
            Kind::Boolean => self.pick(&["yes", "no"]).to_owned(),
            Kind::Json => self.pick(&["{\"a\":[1.5,null]}", "[]", "\"x\""]).to_owned(),
        };
        let value = field.parse(&text).unwrap_or_else(|problem| panic!("{}: {problem}: {text:?}", field.pointer));
        assert_eq!(field.text(&value).as_ref().map(|text| field.parse(text)), Some(Ok(value.clone())));
        value
    }
}

#[test]
fn documents_of_shipped_types_survive_their_forms() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    let bundles: Vec<String> = plugins().iter().map(String::as_str).chain(["zoo"]).map(bundle).collect();
    let mut install: Vec<&str> = vec!["install", "--yes"];
    install.extend(bundles.iter().map(String::as_str));
    yard.ok(&install);
    let types = yard.json(&["types"]);
    let types = types["types"].as_array().expect("types");
    assert!(types.len() >= 8, "{types:?}");
    for view in types {
        let slug: TypeSlug = view["slug"].as_str().expect("a slug").parse().expect("a slug");
        let schema = Schema::compile(view["schema"].clone()).expect("a good schema");
        let form = Form::new(&schema);
        for seed in 0..DOCUMENTS {
            let document = User(seed).answer(&form.root(), 0);
            assert_eq!(form.read(&document).into_document().as_ref(), Some(&document), "{slug}");
            // Every question applied when it was asked.
            let applicable = form.root().applicable(&document);
            assert_eq!(applicable, document, "{slug}");
            let unknown =
                schema.check_closed(&document).into_iter().find(|found| found.message.contains("unknown field"));
            assert_eq!(unknown, None, "{slug}: {document}");
        }
    }
}
