//! Release 1.1.0 of the bundle `vet`: clinics have an additional optional field.

use blockyard_sdk::prelude::*;

/// A clinic for animals.
#[derive(Block)]
#[block(type = "vet-clinic", version = 1, title = "Clinic")]
pub struct Clinic {
    /// Address of the service, `HOST:PORT`.
    address: String,
    /// Fax number.
    fax: Option<String>,
    /// Motto, which the first release does not have.
    motto: Option<String>,
    /// Access token of the service.
    #[block(audience = "https://api.vet.example")]
    token: Option<Secret>,
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
        let motto = self.motto.as_deref().map(|motto| format!(", {motto}")).unwrap_or_default();
        Ok(format!("vet 1.1.0: {}{motto}", self.address))
    }

    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let fax = self.fax.iter().filter(|fax| !fax.starts_with('+'));
        let token = self.token.iter().filter(|_| self.address.starts_with("public."));
        fax.map(|_| Violation::new("/fax", "must begin with `+`"))
            .chain(token.map(|_| Violation::new("/token", "must not be set for a public clinic")))
            .collect()
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
    capabilities: ["http https://api.vet.example"],
}
