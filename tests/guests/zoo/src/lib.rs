//! A bundle whose types have every kind of field: secrets and references at every depth, values at
//! the edge, names that Rust keeps for itself. What a yard must keep, it must keep of these.

use std::collections::BTreeMap;

use blockyard_sdk::prelude::*;

/// Somebody who looks after animals.
#[derive(Block)]
#[block(type = "zoo-keeper", version = 1, title = "Keeper")]
pub struct Keeper {
    /// What they are called.
    name: String,
    /// What opens their door.
    #[block(audience = "sql")]
    badge: Option<Secret<String>>,
    /// Who they learn from.
    teacher: Option<BlockRef<Keeper>>,
}

/// A place for animals.
#[derive(Block)]
#[block(type = "zoo-cage", version = 1, title = "Cage")]
#[allow(dead_code, reason = "some fields are there to be kept, not to be used")]
pub struct Cage {
    /// What lives there.
    animal: String,
    /// Who looks after it.
    keeper: Option<BlockRef<Keeper>>,
    /// Who else does.
    #[serde(default)]
    helpers: Vec<BlockRef<Keeper>>,
    /// The cage that it stands in.
    inside: Option<BlockRef<Cage>>,
    /// Where its papers are.
    #[block(interface = "secret-store")]
    papers: Option<BlockRef>,
    /// How it is locked.
    lock: Option<Lock>,
    /// Numbers of spare keys.
    #[serde(default)]
    #[block(audience = "sql")]
    spares: Vec<Secret<String>>,
    /// Keys by the name of their door.
    #[serde(default)]
    #[block(audience = "sql")]
    doors: BTreeMap<String, Secret<String>>,
    /// Where it stands.
    place: Option<Place>,
    /// How many live there at the most.
    capacity: Option<u64>,
    /// How warm it is, in degrees Celsius.
    warmth: Option<f64>,
    /// What it cost, to the last cent.
    price: Option<String>,
    /// When it was built.
    built: Option<String>,
    /// What kind it is.
    r#type: Option<Kind>,
    /// Words about it.
    #[serde(default)]
    tags: Vec<String>,
    /// Anything else.
    #[serde(default)]
    notes: BTreeMap<String, Value>,
}

/// How a cage is locked.
#[data]
#[serde(tag = "how", rename_all = "lowercase", deny_unknown_fields)]
pub enum Lock {
    /// It is not.
    Open,
    /// With a key.
    Key {
        /// What the key looks like.
        #[block(audience = "sql")]
        pattern: Secret<String>,
    },
    /// By somebody.
    Guarded {
        /// By whom.
        by: BlockRef<Keeper>,
        /// What they want to hear.
        #[block(audience = "sql")]
        word: Option<Secret<String>>,
    },
}

/// Where a cage stands.
#[data]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// In which house.
    house: String,
    /// What opens the house.
    #[block(audience = "sql")]
    code: Option<Secret<String>>,
}

/// What kind of cage it is.
#[data]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// With water.
    Tank,
    /// With a roof.
    Aviary,
}

/// A box for one secret.
#[derive(Block)]
#[block(type = "zoo-safe", version = 1, title = "Safe", interfaces("secret-store"))]
pub struct Safe {
    /// What lies in it.
    #[block(audience = "sql")]
    content: Secret<String>,
}

#[operations]
impl Keeper {
    /// Says who they are and whom they learn from.
    #[operation(read)]
    fn introduce(&self) -> Result<String> {
        match &self.teacher {
            None => Ok(self.name.clone()),
            Some(teacher) => Ok(format!("{} < {}", self.name, teacher.get()?.introduce()?)),
        }
    }

    /// Shows the badge, in plain text.
    #[operation(read)]
    fn show_badge(&self) -> Result<Option<String>> {
        self.badge.as_ref().map(text).transpose()
    }
}

#[operations]
impl Cage {
    /// Looks around: the animal, the keepers, and the cages around this one.
    #[operation(read)]
    fn look(&self) -> Result<Value> {
        let keeper = self.keeper.as_ref().map(|keeper| keeper.get()?.introduce()).transpose()?;
        let helpers = self.helpers.iter().map(|helper| helper.get()?.introduce()).collect::<Result<Vec<_>>>()?;
        let inside = self.inside.as_ref().map(|cage| cage.get()?.look()).transpose()?;
        Ok(json!({ "animal": self.animal, "keeper": keeper, "helpers": helpers, "inside": inside }))
    }

    /// The plain text of every secret that this cage has or builds on.
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
impl Safe {
    /// Gives out what lies in it.
    #[operation(read)]
    fn read(&self) -> Result<Streamed<Option<bool>>> {
        Ok(Streamed { result: None, body: Body::from_bytes("text/plain", &self.content.reveal()?) })
    }
}

fn text(secret: &Secret) -> Result<String> {
    String::from_utf8(secret.reveal()?).map_err(|_| Problem::new("failed", "the secret is not text"))
}

bundle! {
    name: "zoo",
    description: "Cages and their keepers",
    types: [Keeper, Cage, Safe],
    capabilities: ["reveal"],
}
