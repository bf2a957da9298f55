//! Release 2.0.0 of the bundle `vet`: the address of a clinic is split into two fields, a new field
//! is required, a field is removed, a secret has another name, and one more origin is requested.

use blockyard_sdk::prelude::*;

/// A clinic for animals, before release 2.0.0.
#[derive(Block)]
#[block(type = "vet-clinic", version = 1)]
pub struct ClinicV1 {
    /// Address of the service, `HOST:PORT`.
    address: String,
    /// Fax number.
    fax: Option<String>,
    /// Motto.
    motto: Option<String>,
    /// Access token of the service.
    #[block(audience = "https://api.vet.example")]
    token: Option<Secret>,
}

/// A clinic for animals.
#[derive(Block)]
#[block(type = "vet-clinic", version = 2, title = "Clinic", previous = ClinicV1)]
pub struct Clinic {
    /// Host name of the service.
    host: String,
    /// Port of the service.
    port: u16,
    /// Region in which the clinic is licensed.
    region: Supplied<String>,
    /// Motto.
    motto: Option<String>,
    /// Access token of the service.
    #[block(audience = "https://api.vet.example")]
    access_token: Option<Secret>,
}

impl TryFrom<ClinicV1> for Clinic {
    type Error = Problem;

    fn try_from(old: ClinicV1) -> Result<Self> {
        let (host, port) = old.address.split_once(':').unwrap_or((old.address.as_str(), "443"));
        let port = port.parse().map_err(|_| {
            Problem::invalid(format!("the address `{}` has no valid port", old.address)).hint("correct `address` first")
        })?;
        if let Some(fax) = &old.fax {
            blockyard_sdk::log::info(&format!("clinics no longer have a fax number; {fax} is not used"));
        }
        Ok(Self { host: host.to_owned(), port, region: Supplied::missing(), motto: old.motto, access_token: old.token })
    }
}

/// A patient of a clinic.
#[derive(Block)]
#[block(type = "vet-patient", version = 1, title = "Patient")]
pub struct Patient {
    /// Name of the patient.
    name: String,
    /// The clinic.
    clinic: BlockRef<Clinic>,
}

#[operations]
impl Clinic {
    /// Returns the release and the address of the clinic.
    #[operation(read)]
    fn describe(&self) -> Result<String> {
        let token = if self.access_token.is_some() { ", with a token" } else { "" };
        let motto = self.motto.as_deref().unwrap_or("no motto");
        Ok(format!("vet 2.0.0: {}:{} in {}, {motto}{token}", self.host, self.port, *self.region))
    }

    /// Lists the animals that wait for a visit.
    #[operation(read)]
    fn waiting(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

#[operations]
impl Patient {
    /// Returns the name of the patient and the clinic.
    #[operation(read)]
    fn describe(&self) -> Result<String> {
        Ok(format!("{} at {}", self.name, self.clinic.get()?.describe()?))
    }
}

bundle! {
    name: "vet",
    description: "Clinics for animals",
    types: [Clinic, Patient],
    capabilities: ["http https://api.vet.example", "http https://data.vet.example"],
}
