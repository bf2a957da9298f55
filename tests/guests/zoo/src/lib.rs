//! A bundle whose types have every kind of field: secrets and references at every depth, boundary
//! values, names that are keywords of Rust. Tests of the yard store and load such blocks.

use std::collections::BTreeMap;

use blockyard_sdk::prelude::*;

/// A person who looks after animals.
#[derive(Block)]
#[block(type = "zoo-keeper", version = 1, title = "Keeper")]
pub struct Keeper {
    /// Name of the keeper, e.g. `Ada`.
    name: String,
    /// Badge that opens the doors.
    #[block(audience = "sql")]
    badge: Option<Secret<String>>,
    /// The keeper that trains this one.
    teacher: Option<BlockRef<Keeper>>,
}

/// An enclosure for animals.
#[derive(Block)]
#[block(type = "zoo-cage", version = 1, title = "Cage")]
#[allow(dead_code, reason = "some fields are there to be kept, not to be used")]
pub struct Cage {
    /// Species of the animal, e.g. `lion`.
    animal: String,
    /// The keeper in charge.
    keeper: Option<BlockRef<Keeper>>,
    /// Other keepers.
    #[serde(default)]
    helpers: Vec<BlockRef<Keeper>>,
    /// The cage that surrounds this one.
    inside: Option<BlockRef<Cage>>,
    /// Secret store that holds the documents.
    #[block(interface = "secret-store")]
    papers: Option<BlockRef>,
    /// Lock of the cage.
    lock: Option<Lock>,
    /// Codes of spare keys.
    #[serde(default)]
    #[block(audience = "sql")]
    spares: Vec<Secret<String>>,
    /// Key of each door, by the name of the door.
    #[serde(default)]
    #[block(audience = "sql")]
    doors: BTreeMap<String, Secret<String>>,
    /// Location of the cage.
    place: Option<Place>,
    /// Maximum number of animals.
    capacity: Option<u64>,
    /// Temperature in degrees Celsius.
    warmth: Option<f64>,
    /// Price as an exact decimal number.
    price: Option<String>,
    /// Date of construction.
    built: Option<String>,
    /// Kind of cage.
    r#type: Option<Kind>,
    /// Search terms.
    #[serde(default)]
    tags: Vec<String>,
    /// Other values.
    #[serde(default)]
    notes: BTreeMap<String, Value>,
}

/// Lock of a cage.
#[data]
#[serde(tag = "how", rename_all = "lowercase", deny_unknown_fields)]
pub enum Lock {
    /// No lock.
    Open,
    /// Locked with a key.
    Key {
        /// Pattern of the key.
        #[block(audience = "sql")]
        pattern: Secret<String>,
    },
    /// Guarded by a keeper.
    Guarded {
        /// The keeper that guards the cage.
        by: BlockRef<Keeper>,
        /// Password that the guard expects.
        #[block(audience = "sql")]
        word: Option<Secret<String>>,
    },
}

/// Location of a cage.
#[data]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Name of the house.
    house: String,
    /// Code that opens the house.
    #[block(audience = "sql")]
    code: Option<Secret<String>>,
}

/// Kind of a cage.
#[data]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A water tank.
    Tank,
    /// A cage with a roof.
    Aviary,
}

/// A container for one secret.
#[derive(Block)]
#[block(type = "zoo-safe", version = 1, title = "Safe", interfaces(interface::SecretStore))]
pub struct Safe {
    /// The secret.
    #[block(audience = "sql")]
    content: Secret<String>,
}

#[operations]
impl Keeper {
    /// Returns the name of the keeper, followed by those of their teachers.
    #[operation(read)]
    fn introduce(&self) -> Result<String> {
        match &self.teacher {
            None => Ok(self.name.clone()),
            Some(teacher) => Ok(format!("{} < {}", self.name, teacher.get()?.introduce()?)),
        }
    }

    /// Returns the badge in plaintext.
    #[operation(read)]
    fn show_badge(&self) -> Result<Option<String>> {
        self.badge.as_ref().map(text).transpose()
    }
}

#[operations]
impl Cage {
    /// Returns the animal, the keepers and the surrounding cages.
    #[operation(read)]
    fn look(&self) -> Result<Value> {
        let keeper = self.keeper.as_ref().map(|keeper| keeper.get()?.introduce()).transpose()?;
        let helpers = self.helpers.iter().map(|helper| helper.get()?.introduce()).collect::<Result<Vec<_>>>()?;
        let inside = self.inside.as_ref().map(|cage| cage.get()?.look()).transpose()?;
        Ok(json!({ "animal": self.animal, "keeper": keeper, "helpers": helpers, "inside": inside }))
    }

    /// Returns the plaintext of every secret of the cage and of its keepers.
    #[operation(read)]
    fn open_all(&self) -> Result<Vec<String>> {
        let mut found: Vec<&Secret> = self.spares.iter().chain(self.doors.values()).collect();
        found.extend(self.place.iter().filter_map(|place| place.code.as_ref()));
        match &self.lock {
            Some(Lock::Key { pattern }) => found.push(pattern),
            Some(Lock::Guarded { by, word }) => {
                found.extend(word);
                found.extend(&by.get()?.badge);
            }
            Some(Lock::Open) | None => {}
        }
        let keepers = self.keeper.iter().chain(&self.helpers).map(BlockRef::get).collect::<Result<Vec<_>>>()?;
        found.extend(keepers.into_iter().filter_map(|keeper| keeper.badge.as_ref()));
        found.into_iter().map(text).collect()
    }

    #[validate]
    fn validate(&self) -> Vec<Violation> {
        if self.animal == "unicorn" { vec![Violation::new("/animal", "does not live in cages")] } else { Vec::new() }
    }
}

#[operations]
impl interface::SecretStore for Safe {
    /// Returns the content in plaintext.
    fn read(&self) -> Result<Streamed<Option<bool>>> {
        Ok(Streamed { result: None, body: Body::from_bytes("text/plain", &self.content.reveal()?) })
    }
}

#[operations]
impl Safe {}

fn text(secret: &Secret) -> Result<String> {
    String::from_utf8(secret.reveal()?).map_err(|_| Problem::new("failed", "the secret is not text"))
}

bundle! {
    name: "zoo",
    description: "Cages and their keepers",
    types: [Keeper, Cage, Safe],
    capabilities: ["reveal"],
}
