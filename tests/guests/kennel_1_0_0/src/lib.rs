//! Release 1.0.0 of the bundle `kennel`: runs for dogs, whose blocks may refer to a block of another
//! bundle. The other releases are in the neighboring folders.

use blockyard_sdk::prelude::*;

/// A run for dogs.
#[derive(Block)]
#[block(type = "kennel-run", version = 1, title = "Run")]
pub struct Run {
    /// Width and length in meters, `WIDTHxLENGTH`.
    size: String,
    /// Code of the door.
    #[block(audience = "https://doors.kennel.example")]
    code: Option<Secret>,
    /// Database with the dogs.
    #[block(interface = "database")]
    register: Option<BlockRef>,
}

#[operations]
impl Run {
    /// Returns the release, the size, whether there is a code, and the database.
    #[operation(read)]
    fn describe(&self) -> Result<String> {
        let code = if self.code.is_some() { ", with a code" } else { "" };
        let register =
            self.register.as_ref().map(|register| format!(", listed in {}", register.address())).unwrap_or_default();
        Ok(format!("kennel 1.0.0: {}{code}{register}", self.size))
    }
}

bundle! {
    name: "kennel",
    description: "Runs for dogs",
    types: [Run],
    capabilities: ["http https://doors.kennel.example"],
}
