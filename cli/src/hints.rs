//! Hints of the command line for errors of the core: the command to run or the option to pass, by
//! error code. The core itself names neither, because it is used through other interfaces, too.

use std::collections::BTreeSet;

use blockyard::model::{Address, visible};
use blockyard::{Code, Error, ErrorKind, LockFinding, Need, OpenChange};
use serde_json::{Value, json};

/// Hint to provide the yard's key.
const KEY: &str = "give the yard's key with BLOCKYARD_KEY (base64) or BLOCKYARD_KEY_FILE";

/// Returns all hints of an error: those of the core, which apply to every interface, followed by
/// commands and options.
pub(crate) fn hints(error: &Error) -> Vec<String> {
    let mut hints = error.hints().to_vec();
    if let Some(code) = error.as_code() {
        // The name of a similar type is more useful than a list of types.
        let has_suggestion = matches!(code, Code::UnknownType { .. }) && !hints.is_empty();
        hints.extend(if has_suggestion { Vec::new() } else { actions(code) });
    }
    hints
}

/// Returns the exit code for a kind of error.
pub(crate) fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Remote => 1,
        ErrorKind::Usage => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::Invalid => 4,
        ErrorKind::Denied => 5,
        ErrorKind::Conflict => 6,
        ErrorKind::Bundle => 7,
        ErrorKind::Internal => 70,
    }
}

/// Returns the JSON form of an error, as printed with `--json`.
pub(crate) fn to_json(error: &Error) -> Value {
    json!({ "error": {
        "kind": error.kind().as_str(),
        "code": error.as_code().map(Code::as_str),
        "message": error.to_string(),
        "causes": error.causes(),
        "hints": hints(error),
        "details": error.values(),
    }})
}

fn restore(address: &Address) -> String {
    format!("run `blockyard restore {address}`")
}

#[allow(clippy::too_many_lines, reason = "one table: a line for each code")]
fn actions(code: &Code) -> Vec<String> {
    let one = |hint: String| vec![hint];
    match code {
        Code::NoYard => one("create one with `blockyard init`, or name another with `--yard`".to_owned()),
        Code::YardExists => one("use it as it is, or name another address with `--yard`".to_owned()),
        Code::NotAYard => one("name the yard's own file with `--yard sqlite:PATH`".to_owned()),
        Code::CommitUnknown => {
            one("check with `blockyard history` or `blockyard audit` before you try again".to_owned())
        }
        Code::KeyUnavailable => one(KEY.to_owned()),
        Code::WrongKey => one(format!("{KEY}; unset them if they hold another key")),
        Code::RotationUnderWay => {
            one("the yard is being moved to another key; finish it with `blockyard key rotate`".to_owned())
        }
        Code::KeyDestinationNeeded => {
            one("name the new key's destination with `--to keyring`, `--to file` or `--to env:NAME`; from then on, \
             BLOCKYARD_KEY and BLOCKYARD_KEY_FILE must hold the new key or be unset"
                .to_owned())
        }
        Code::KeyVariableNeeded => one(
            "put a new key, such as `openssl rand -base64 32` makes, into a variable and name it with `--to env:NAME`"
                .to_owned(),
        ),
        Code::NameTaken { address } => one(format!("change it with `blockyard set {address}`, or choose another name")),
        Code::NameTakenByDeleted { address } => one(format!("{}, or choose another name", restore(address))),
        Code::Deleted { address } => one(restore(address)),
        Code::RevisionMoved { address, .. } => one(format!("review it with `blockyard show {address}`, and try again")),
        Code::BundleInUse { bundle, used_by } => {
            let mut hints = vec![format!("move the blocks to another version with `blockyard upgrade {bundle}`")];
            hints.extend(used_by.first().map(|usage| format!("or delete them: `blockyard delete {}`", usage.address)));
            hints
        }
        Code::SecretDestroyed { address, field } => {
            one(format!("set a new value with `blockyard set {address} --secret {field}`"))
        }
        Code::UnknownType { any_installed: false, .. } => {
            one("install a bundle first, with `blockyard install NAME`".to_owned())
        }
        Code::UnknownType { .. } => {
            one("list the types with `blockyard types`, or install a bundle with `blockyard install NAME`".to_owned())
        }
        Code::BundleUninstalled { bundle, version } => one(format!(
            "install it again with `blockyard install {bundle}@={version}`, or by the path of its file"
        )),
        Code::NotInstalled { bundle } => one(format!(
            "list the bundles with `blockyard bundles`, or install it with `blockyard install {bundle}`"
        )),
        Code::NotGranted { bundle, capabilities } => {
            let named: Vec<String> = capabilities.iter().map(|capability| format!("'{capability}'")).collect();
            one(format!("grant it with `blockyard grant {bundle} {}`", named.join(" ")))
        }
        Code::NetworkNotGranted { bundle, capability } => one(format!(
            "if bundle `{bundle}` may reach it, grant the address by name: `blockyard grant {bundle} '{capability}'`"
        )),
        Code::ConsentNeeded { agreement, open, .. } => consent(*agreement, open),
        Code::UpgradeBlocked { bundle, .. } => vec![
            format!("see what changes with `blockyard upgrade {bundle} --plan`"),
            "supply missing values with `--set TYPE/NAME:FIELD=VALUE` or `--answers FILE`".to_owned(),
        ],
        Code::NoRegistry { bundle } => vec![
            "name a registry with `--registry PATH`, or in `[registries]` of your configuration".to_owned(),
            format!("a file or a crate is named by its path, as in `./{bundle}`"),
        ],
        Code::RegistryUnreadable => one("name a registry's file or folder with `--registry`".to_owned()),
        Code::RegistryNotSigned { .. } => vec![
            "if you trust all users who can write the registry, set `unsigned = true` for it in `[registries]` of your configuration".to_owned(),
            "or install the file by its path".to_owned(),
        ],
        Code::RegistryCredentials { host, variable, token_service } => {
            registry_credentials(host, variable.as_deref(), token_service.as_deref())
        }
        Code::NotCached { .. } => {
            one("run the command once without `--offline`, or name a local registry with `--registry PATH`".to_owned())
        }
        Code::SigningPasswordNeeded => one("set the password in BLOCKYARD_SIGNING_PASSWORD".to_owned()),
        Code::SignerChanged { bundle, offered, .. } => one(format!(
            "if the owner of the registry confirms the new key, run `blockyard install {bundle} --accept-key {offered}`"
        )),
        Code::LockInvalid { path } => vec![
            "restore the file from version control".to_owned(),
            format!("or delete `{}`, and lock the newest fitting versions with `blockyard install`", path.display()),
        ],
        Code::LockOutdated { .. } => one("update the lock file with `blockyard install`, without `--locked`".to_owned()),
        Code::LockSourceUnknown { .. } => vec![
            "if you trust this registry, name it with `--registry`, or in `[registries]` of blockyard.toml or of your configuration".to_owned(),
            "to use another registry, delete the entry from blockyard.lock, and run `blockyard install`".to_owned(),
        ],
        Code::LockMismatch { .. } => one(
            "find out who changed blockyard.lock; to lock the release again, delete its entry, and run `blockyard install`"
                .to_owned(),
        ),
        Code::ReleaseChanged { .. } => one(
            "to accept the new bytes, delete the entry from blockyard.lock, and run `blockyard install`".to_owned(),
        ),
        Code::DeadlineExceeded => one("only this call is lost; `--timeout SECONDS` sets another limit".to_owned()),
        Code::NotABundle => one("build the bundle with `blockyard build`".to_owned()),
        Code::ProjectYardUntrusted { folder } => one(format!(
            "if you know who made it, run `blockyard trust {}`; or name another yard with `--yard`",
            folder.display()
        )),
        Code::ProjectFileIrregular => one("name a yard with `--yard` or BLOCKYARD_YARD".to_owned()),
        Code::NothingTrusted => one("list what is trusted with `blockyard trust --list`".to_owned()),
        Code::TrustUnreadable => one("delete it, and run `blockyard trust` for what you trust".to_owned()),
        Code::SourceNotPermitted { source, yard } => {
            let mut hints = vec![format!(
                "if blocks of this yard may read it, add `{source}` to `allow` in `[sources]` of your configuration"
            )];
            if let Some(yard) = yard {
                let yard = yard.display();
                hints.push(format!("or, if no one else can have written the yard, run `blockyard trust {yard}`"));
            }
            hints
        }
        // The hint of the core is sufficient, or the code is unknown to this version.
        _ => Vec::new(),
    }
}

/// Returns the ways to give a registry credentials. `service` is the origin of a token service that did
/// not receive those that are stored.
fn registry_credentials(host: &str, variable: Option<&str>, service: Option<&str>) -> Vec<String> {
    let token = match variable {
        Some(variable) => format!("set a token for it in {variable}"),
        None => "name the registry in `[registries]` of your configuration, and set a token in \
                 BLOCKYARD_REGISTRY_TOKEN_NAME"
            .to_owned(),
    };
    // docker and oras map this name of Docker Hub to the key of its credentials.
    let login = if host == "registry-1.docker.io" { "docker.io" } else { host };
    match service {
        Some(service) => vec![
            format!(
                "if `{service}` may receive your credentials for `{host}`, set `token-service = \"{service}\"` for \
                 the registry in `[registries]` of your configuration"
            ),
            format!("or {token}"),
        ],
        None => vec![token, format!("or log in with `docker login {login}` or `oras login {login}`")],
    }
}

/// Returns one hint per change that requires a separate approval, followed by all options together.
fn consent(agreement: bool, open: &[OpenChange]) -> Vec<String> {
    let mut hints = Vec::new();
    let mut flags = BTreeSet::new();
    for OpenChange { change, need } in open {
        let Some(need) = need else { continue };
        let flag = flag(need);
        hints.push(format!("`{flag}` accepts: {}", visible::line(change)));
        flags.insert(flag);
    }
    let all: Vec<String> = agreement.then(|| "--yes".to_owned()).into_iter().chain(flags).collect();
    hints.push(format!("confirm with `{}`", all.join(" ")));
    hints
}

/// Returns the command that resolves a difference between the lock file of a project and a yard.
pub(crate) fn lock_command(finding: &LockFinding) -> String {
    match finding {
        LockFinding::Newer { name, newest, .. } => format!("blockyard install {name}@={newest}"),
        _ => "blockyard install".to_owned(),
    }
}

/// Returns the option that approves a change in advance.
pub(crate) fn flag(need: &Need) -> String {
    match need {
        Need::Grant(capability) => format!("--grant '{capability}'"),
        Need::Replace => "--replace".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_for_a_token_service_is_named() {
        let hints = registry_credentials("registry-1.docker.io", Some("TOKEN"), Some("https://auth.docker.io"));
        assert_eq!(
            hints,
            [
                "if `https://auth.docker.io` may receive your credentials for `registry-1.docker.io`, set \
                 `token-service = \"https://auth.docker.io\"` for the registry in `[registries]` of your configuration",
                "or set a token for it in TOKEN",
            ]
        );
        let hints = registry_credentials("registry-1.docker.io", Some("TOKEN"), None);
        assert_eq!(hints[1], "or log in with `docker login docker.io` or `oras login docker.io`");
    }

    #[test]
    fn consent_names_each_flag_once() {
        let change = |change: &str, need| OpenChange { change: change.to_owned(), need: Some(need) };
        let clock = Need::Grant("clock".parse().expect("a capability"));
        let open = [change("new capability `clock`", clock), change("a", Need::Replace), change("b", Need::Replace)];
        assert_eq!(
            consent(true, &open),
            [
                "`--grant 'clock'` accepts: new capability `clock`",
                "`--replace` accepts: a",
                "`--replace` accepts: b",
                "confirm with `--yes --grant 'clock' --replace`",
            ]
        );
        assert_eq!(consent(true, &[]), ["confirm with `--yes`"]);
    }
}
