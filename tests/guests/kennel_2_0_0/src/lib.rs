//! Release 2.0.0 of the bundle `kennel`: the size of a run is split into two fields, a new field is
//! required, and one more origin is requested.

use blockyard_sdk::prelude::*;

/// A run for dogs, before release 2.0.0.
#[derive(Block)]
#[block(type = "kennel-run", version = 1)]
pub struct RunV1 {
    /// Width and length in meters, `WIDTHxLENGTH`.
    size: String,
    /// Heated.
    heated: Option<bool>,
    /// Code of the door.
    #[block(audience = "https://doors.kennel.example")]
    code: Option<Secret>,
    /// Database with the dogs.
    #[block(interface = "database")]
    register: Option<BlockRef>,
}

/// A run for dogs.
#[derive(Block)]
#[block(type = "kennel-run", version = 2, title = "Run", previous = RunV1)]
pub struct Run {
    /// Width in meters.
    width: u16,
    /// Length in meters.
    length: u16,
    /// Person who opens the run.
    keeper: Supplied<String>,
    /// Heated.
    heated: Option<bool>,
    /// Code of the door.
    #[block(audience = "https://doors.kennel.example")]
    code: Option<Secret>,
    /// Database with the dogs.
    #[block(interface = "database")]
    register: Option<BlockRef>,
}

impl TryFrom<RunV1> for Run {
    type Error = Problem;

    fn try_from(old: RunV1) -> Result<Self> {
        let sides =
            old.size.split_once('x').and_then(|(width, length)| Some((width.parse().ok()?, length.parse().ok()?)));
        let (width, length) =
            sides.ok_or_else(|| Problem::invalid(format!("the size `{}` is not `WIDTHxLENGTH`", old.size)))?;
        Ok(Self {
            width,
            length,
            keeper: Supplied::missing(),
            heated: old.heated,
            code: old.code,
            register: old.register,
        })
    }
}

#[operations]
impl Run {
    /// Returns the release, the size, the keeper and the database.
    #[operation(read)]
    fn describe(&self) -> Result<String> {
        let register =
            self.register.as_ref().map(|register| format!(", listed in {}", register.address())).unwrap_or_default();
        Ok(format!("kennel 2.0.0: {} by {}, opened by {}{register}", self.width, self.length, *self.keeper))
    }
}

bundle! {
    name: "kennel",
    description: "Runs for dogs",
    types: [Run],
    capabilities: ["http https://doors.kennel.example", "http https://feed.kennel.example"],
}
