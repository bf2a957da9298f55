//! Trust decisions of a user: which project files and yards may choose what happens.

use std::path::Path;

use blockyard::{Project, Trust, TrustState, TrustTarget, TrustedKind, Yard, YardConfig};
use serde_json::json;

use crate::fixture::{config, document, in_folder, install_zoo, rejected};

const PROJECT: &str = "yard = \"sqlite:yard.db\"\n";

fn trust(folder: &Path) -> Trust {
    Trust::in_folder(folder.join("trust"))
}

fn project(folder: &Path, text: &str) -> Project {
    std::fs::write(folder.join("blockyard.toml"), text).unwrap();
    Project::read(&folder.join("blockyard.toml")).unwrap()
}

/// Creates a yard with a block whose secret is in a file, as a user with other decisions.
async fn yard_of_another_user(folder: &Path) -> String {
    let url = format!("sqlite:{}", folder.join("yard.db").display());
    let theirs = YardConfig { trust: Some(Trust::in_folder(folder.join("their-trust"))), ..YardConfig::default() };
    let yard = Yard::init(&url, blockyard::NewKey::File(None), theirs).await.unwrap();
    install_zoo(&yard).await;
    std::fs::write(folder.join("badge"), "badge-secret").unwrap();
    let source = format!("file:{}", folder.join("badge").display());
    let keeper = document(json!({"name": "Ada", "badge": {"$source": source}}));
    yard.create(&"zoo-keeper/ada".parse().unwrap(), keeper).await.unwrap();
    yard.close().await;
    url
}

async fn reveal(url: &str, config: YardConfig) -> Result<String, String> {
    let yard = Yard::open_with(url, config).await.map_err(|error| error.as_code().unwrap().as_str().to_owned())?;
    let revealed = yard.reveal(&"zoo-keeper/ada".parse().unwrap(), "badge").await;
    yard.close().await;
    match revealed {
        Ok(secret) => Ok(secret.expose().to_owned()),
        Err(error) => Err(error.as_code().map_or_else(|| error.to_string(), |code| code.as_str().to_owned())),
    }
}

#[test]
fn a_project_file_is_trusted_with_its_content() {
    in_folder(async |folder| {
        let (trust, first) = (trust(folder), project(folder, PROJECT));
        assert_eq!(trust.state(&first).unwrap(), TrustState::Untrusted);
        trust.trust_project(&first).await.unwrap();
        assert_eq!(trust.state(&first).unwrap(), TrustState::Trusted);
        // Every change of the bytes needs a new decision, also one that changes no value.
        let changed = project(folder, "yard = \"sqlite:yard.db\" \n");
        assert_eq!(trust.state(&changed).unwrap(), TrustState::Changed);
        let back = project(folder, PROJECT);
        assert_eq!(trust.state(&back).unwrap(), TrustState::Trusted);
        let revoked = trust.revoke(folder).unwrap();
        assert_eq!(revoked.len(), 1);
        assert_eq!(trust.state(&back).unwrap(), TrustState::Untrusted);
    });
}

#[test]
fn decisions_are_listed_with_their_state() {
    in_folder(async |folder| {
        let url = yard_of_another_user(folder).await;
        let trust = trust(folder);
        assert!(trust.list().unwrap().is_empty());
        trust.trust_project(&project(folder, PROJECT)).await.unwrap();
        trust.trust_yard(&folder.join("yard.db")).await.unwrap();
        let listed = |trust: &Trust| {
            let listed = trust.list().unwrap();
            listed.into_iter().map(|item| (item.kind, item.state)).collect::<Vec<_>>()
        };
        assert_eq!(
            listed(&trust),
            [(TrustedKind::Project, TrustState::Trusted), (TrustedKind::AdoptedYard, TrustState::Trusted)]
        );
        std::fs::write(folder.join("blockyard.toml"), "").unwrap();
        std::fs::remove_file(url.strip_prefix("sqlite:").unwrap()).unwrap();
        assert_eq!(
            listed(&trust),
            [(TrustedKind::Project, TrustState::Changed), (TrustedKind::AdoptedYard, TrustState::Missing)]
        );
    });
}

#[test]
fn sources_of_yards_of_other_users_require_permission() {
    in_folder(async |folder| {
        let url = yard_of_another_user(folder).await;
        assert_eq!(reveal(&url, config(folder)).await, Err("source-not-permitted".to_owned()));
        // The user permits one file of any yard, or adopts the yard.
        let allowed = format!("file:{}", folder.join("badge").display()).parse().unwrap();
        let sources = YardConfig { sources: vec![allowed], ..config(folder) };
        assert_eq!(reveal(&url, sources).await.as_deref(), Ok("badge-secret"));
        let other = format!("file:{}", folder.join("other").display()).parse().unwrap();
        let sources = YardConfig { sources: vec![other], ..config(folder) };
        assert_eq!(reveal(&url, sources).await, Err("source-not-permitted".to_owned()));
        trust(folder).trust_yard(&folder.join("yard.db")).await.unwrap();
        assert_eq!(reveal(&url, config(folder)).await.as_deref(), Ok("badge-secret"));
        trust(folder).revoke(&folder.join("yard.db")).unwrap();
        assert_eq!(reveal(&url, config(folder)).await, Err("source-not-permitted".to_owned()));
    });
}

#[test]
fn a_project_opens_only_its_trusted_yard() {
    in_folder(async |folder| {
        let url = yard_of_another_user(folder).await;
        let project = project(folder, PROJECT);
        let with_project = || YardConfig { project: Some(project.clone()), ..config(folder) };
        assert_eq!(reveal(&url, with_project()).await, Err("project-yard-untrusted".to_owned()));
        trust(folder).trust_project(&project).await.unwrap();
        // The yard can be used, but its sources are still those of another user.
        assert_eq!(reveal(&url, with_project()).await, Err("source-not-permitted".to_owned()));
        // Another yard in its position is not the trusted one.
        for name in ["yard.db", "yard.db-wal", "yard.db-shm", "yard.key"] {
            let _ = std::fs::remove_file(folder.join(name));
        }
        yard_of_another_user(folder).await;
        assert_eq!(reveal(&url, with_project()).await, Err("project-yard-untrusted".to_owned()));
    });
}

#[cfg(unix)]
#[test]
fn decisions_that_other_users_can_write_are_ignored() {
    use std::os::unix::fs::PermissionsExt as _;
    in_folder(async |folder| {
        let (trust, project) = (trust(folder), project(folder, PROJECT));
        trust.trust_project(&project).await.unwrap();
        let permissions = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.join("trust"), permissions).unwrap();
        let state = trust.state(&project).unwrap_err();
        assert_eq!(state.kind().as_str(), "denied");
        assert!(state.to_string().contains("are not used"), "{state}");
    });
}

#[test]
fn a_path_names_a_project_or_a_yard() {
    let unreadable = |path: &Path| {
        format!("not-found: `{}` cannot be read\n  caused by: No such file or directory (os error 2)\n", path.display())
    };
    in_folder(async |folder| {
        yard_of_another_user(folder).await;
        let file = folder.join("blockyard.toml");
        assert_eq!(rejected(TrustTarget::at(folder)), unreadable(&file));
        project(folder, PROJECT);
        assert!(matches!(TrustTarget::at(folder).unwrap(), TrustTarget::Project(_)));
        assert!(matches!(TrustTarget::at(&file).unwrap(), TrustTarget::Project(_)));
        let TrustTarget::Yard(path) = TrustTarget::at(&folder.join("yard.db")).unwrap() else { panic!("a yard") };
        assert_eq!(path, folder.join("yard.db"));
        let missing = folder.join("missing");
        assert_eq!(rejected(TrustTarget::at(&missing)), unreadable(&missing));
    });
}
