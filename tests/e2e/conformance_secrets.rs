//! Secrets: absent from all output and files, restored exactly, and bound to the location where
//! they were stored.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use blockyard_tests::{Backend, TestYard, bundle, on_both, run_command};
use serde_json::{Map, Value, json};

on_both!(
    reading_commands_print_no_secret,
    writing_commands_print_no_secret,
    failing_commands_print_no_secret,
    invalid_toml_error_quotes_no_line,
    unreachable_database_error_contains_no_password,
    secrets_are_encrypted_in_the_yard,
    unusual_secrets_round_trip,
    one_trailing_newline_is_stripped_from_a_secret,
    secret_that_is_not_utf8_is_rejected,
    masked_values_are_rejected_in_every_secret_field,
    secret_in_a_flag_is_rejected_at_every_depth,
    ciphertext_is_bound_to_its_location,
    data_key_is_bound_to_its_block,
    revision_modified_outside_blockyard_is_rejected,
);

/// Word at the beginning of every canary, which occurs nowhere else.
const WORD: &str = "nightjar";

/// Names of the canaries in `create_blocks_with_secrets`.
const NAMES: [&str; 15] = [
    "badge", "box", "spare", "another", "north", "slash", "code", "pattern", "later", "word", "east", "west", "away",
    "gone", "entered",
];

/// Returns a secret with characters that each encoding represents differently.
fn canary(name: &str) -> String {
    format!("{WORD}/{name}+ü=\"\\")
}

/// Returns the encodings in which a secret could appear: plaintext, JSON, percent-encoded,
/// hexadecimal digits, bytes in Rust's debug format, and base64 at each of its three offsets.
fn forms(secret: &str) -> Vec<String> {
    let each = |write: fn(u8) -> String| secret.bytes().map(write).collect::<Vec<_>>();
    let mut forms = vec![
        secret.to_owned(),
        serde_json::to_string(secret).expect("a text").trim_matches('"').to_owned(),
        each(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02x}") })
            .concat(),
        hex::encode(secret),
        each(|byte| byte.to_string()).join(", "),
    ];
    for offset in 0..3 {
        let bytes = [&vec![0; offset], secret.as_bytes()].concat();
        let encoded = STANDARD_NO_PAD.encode(&bytes);
        // The characters at both ends depend on adjacent bytes as well.
        let inner = &encoded[(offset * 4).div_ceil(3)..bytes.len() / 3 * 4];
        forms.extend([inner.to_owned(), inner.replace('+', "-").replace('/', "_")]);
    }
    forms
}

/// Returns the name of the canary that a text contains in any encoding.
fn found_in(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let found = NAMES.iter().find_map(|name| {
        let forms = forms(&canary(name));
        let form = forms.into_iter().find(|form| text.contains(form) || lower.contains(form));
        form.map(|form| format!("the canary `{name}` as {form}"))
    });
    // A truncated canary counts as well.
    found.or_else(|| lower.contains(WORD).then(|| "a part of a canary".to_owned()))
}

#[test]
fn canary_is_detected_in_every_encoding() {
    let secret = canary("badge");
    for form in [
        format!("{secret:?}"),
        format!("{:?}", secret.as_bytes()),
        json!({"at": [secret]}).to_string(),
        "nightjar%2Fbadge%2B%C3%BC%3D%22%5C".to_owned(),
        secret.bytes().map(|byte| format!("{byte:02X}")).collect(),
        STANDARD.encode(&secret),
        STANDARD.encode(format!("u:{secret}")),
        STANDARD.encode(format!("user:{secret}@host")),
        format!("password {}…", &secret[..10]),
    ] {
        assert!(found_in(&form).is_some(), "{form}");
    }
    assert_eq!(found_in("nothing of it: ******** Nachtschwalbe"), None);
}

/// Creates blocks with canaries in every position of a secret: optional fields, lists, maps, nested
/// objects, variants, sources of each kind, through references, in old revisions, in deleted and in
/// purged blocks.
fn create_blocks_with_secrets(yard: &TestYard) {
    yard.permit_sources();
    std::fs::write(yard.path("west-door"), canary("west")).expect("a file");
    let west = format!("file:{}", yard.path("west-door").display());
    let ada = json!({"$block": "zoo-keeper/ada"});
    yard.keeper("ada", &canary("badge"));
    yard.create("zoo-safe/box", &json!({"content": canary("box")}));
    yard.create(
        "zoo-cage/lion",
        &json!({
            "animal": "lion", "keeper": ada,
            "spares": [canary("spare"), canary("another")],
            "doors": {"north": canary("north"), "to/the~south": canary("slash")},
            "place": {"house": "cats", "code": canary("code")},
            "lock": {"how": "key", "pattern": canary("pattern")},
        }),
    );
    let later = json!({"spares": [canary("later")]}).to_string();
    yard.ok_with_input(&["set", "zoo-cage/lion", "--json-config", "-"], &later);
    yard.create(
        "zoo-cage/tiger",
        &json!({
            "animal": "tiger", "helpers": [ada], "inside": {"$block": "zoo-cage/lion"},
            "doors": {"east": {"$source": "env:EAST_DOOR"}, "west": {"$source": west}},
            "place": {"house": "cats", "code": {"$source": "block:zoo-safe/box"}},
            "lock": {"how": "guarded", "by": ada, "word": canary("word")},
        }),
    );
    for name in ["away", "gone"] {
        yard.keeper(name, &canary(name));
    }
    yard.ok(&["delete", "zoo-keeper/away"]);
    yard.ok(&["purge", "zoo-keeper/gone", "--yes"]);
}

/// Runs a command and checks that no canary is in its output.
fn assert_no_secret(yard: &TestYard, flags: &[&str], code: i32, arguments: &[&str], input: &str) -> String {
    let arguments = [flags, arguments].concat();
    let result = run_command(yard.command(&arguments).env("EAST_DOOR", canary("east")), Some(input));
    let output = result.stdout + &result.stderr;
    assert_eq!(result.code, code, "{arguments:?}: {output}");
    assert_eq!(found_in(&output), None, "{arguments:?}: {output}");
    output
}

/// Runs a repeatable command twice, with logs and as JSON.
fn assert_no_secret_in_failure(yard: &TestYard, code: i32, arguments: &[&str], input: &str) {
    assert_no_secret(yard, &["-v", "-v"], code, arguments, input);
    assert_no_secret(yard, &["-v", "--json"], code, arguments, input);
}

fn reading_commands_print_no_secret(yard: &TestYard) {
    create_blocks_with_secrets(yard);
    let log = assert_no_secret(yard, &["-v", "-v"], 0, &["show", "zoo-cage/lion"], "");
    assert!(log.contains("********"), "{log}");
    yard.ok(&["export", "zoo-cage/lion", "zoo-cage/tiger", "zoo-keeper/ada", "zoo-safe/box", "--out", "blocks.toml"]);
    let arguments: [&[&str]; 24] = [
        &["bundles"],
        &["grants"],
        &["types"],
        &["type", "zoo-cage"],
        &["list"],
        &["list", "--deleted"],
        &["list", "--count"],
        &["show", "zoo-cage/lion@1"],
        &["show", "zoo-cage/tiger"],
        &["show", "zoo-keeper/gone"],
        &["history", "zoo-cage/lion"],
        &["history", "zoo-keeper/away"],
        &["diff", "zoo-cage/lion@1", "zoo-cage/lion"],
        &["diff", "zoo-cage/lion", "zoo-cage/tiger"],
        &["export"],
        &["plan", "blocks.toml"],
        &["call", "zoo-cage/tiger", "look"],
        &["call", "zoo-cage/tiger", "open-all"],
        &["call", "zoo-cage/lion@1", "open-all"],
        &["call", "zoo-keeper/ada", "show-badge"],
        &["check", "zoo-cage/tiger"],
        &["audit"],
        &["key", "status"],
        &["doctor"],
    ];
    for arguments in arguments {
        assert_no_secret_in_failure(yard, 0, arguments, "");
    }
    let file = std::fs::read_to_string(yard.path("blocks.toml")).expect("the file");
    assert_eq!(found_in(&file), None, "{file}");
    // `reveal` prints the secret, but must not log it.
    let revealed = yard.run(&["reveal", "zoo-cage/lion", "place.code", "--yes", "-v", "-v"]);
    assert_eq!((revealed.stdout, found_in(&revealed.stderr)), (canary("code"), None), "{}", revealed.stderr);
}

fn writing_commands_print_no_secret(yard: &TestYard) {
    create_blocks_with_secrets(yard);
    std::fs::write(yard.path("door"), canary("entered")).expect("a file");
    yard.ok(&["export", "zoo-cage/lion", "--out", "blocks.toml"]);
    let created =
        json!({"animal": "owl", "spares": [canary("entered")], "lock": {"how": "key", "pattern": canary("entered")}});
    let created = created.to_string();
    let commands: [(&[&str], &str); 18] = [
        (&["create", "zoo-cage/owl", "--json-config", "-", "--check"], &created),
        (&["create", "zoo-cage/owl", "--json-config", "-"], &created),
        (&["set", "zoo-cage/lion", "--set", "capacity=3"], ""),
        (&["set", "zoo-cage/lion", "--secret", "doors.north=@door"], ""),
        (&["set", "zoo-cage/lion", "--secret", "spares.0=-"], &canary("entered")),
        (&["set", "zoo-cage/lion", "--unset", "doors.north"], ""),
        (&["rollback", "zoo-cage/lion@1"], ""),
        (&["apply", "blocks.toml"], ""),
        (&["delete", "zoo-cage/tiger"], ""),
        (&["restore", "zoo-cage/tiger"], ""),
        (&["restore", "zoo-keeper/away"], ""),
        (&["revoke", "zoo", "reveal"], ""),
        (&["grant", "zoo", "reveal"], ""),
        (&["install", &bundle("zoo"), "--yes"], ""),
        (&["key", "rotate"], ""),
        (&["purge", "zoo-cage/lion", "--yes"], ""),
        (&["purge", "zoo-keeper/away", "--yes"], ""),
        (&["audit"], ""),
    ];
    for (arguments, input) in commands {
        assert_no_secret(yard, &["-v", "-v"], 0, arguments, input);
    }
}

fn failing_commands_print_no_secret(yard: &TestYard) {
    create_blocks_with_secrets(yard);
    let secret = canary("entered");
    let in_flag = [format!("doors.north={secret}"), format!("place.code={secret}")];
    let fitting = json!({"animal": "owl", "spares": [secret]}).to_string();
    let unfit = json!({
        "animal": 7, "badge": secret, "spares": [secret, 7], "doors": secret, "keeper": secret, "papers": secret,
        "place": {"house": 1, "cod": secret}, "lock": {"how": "kay", "pattern": secret},
    });
    let unfit = unfit.to_string();
    let unfit_variant = json!({"animal": "owl", "lock": {"how": "key", "patern": secret}}).to_string();
    let impossible =
        json!({"animal": "unicorn", "spares": [secret], "place": {"house": "h", "code": secret}}).to_string();
    let not_a_source = json!({"animal": "owl", "spares": [{"$source": secret}, {"$secret": secret}]}).to_string();
    let in_file = format!("version = 1\n[blocks.\"zoo-keeper/bob\"]\nname = \"b\"\nbadge = {}\n", json!(secret));
    let commands: [(i32, &[&str], &str); 19] = [
        (6, &["create", "zoo-cage/lion", "--json-config", "-"], &fitting),
        (4, &["create", "zoo-cage/owl", "--json-config", "-"], &unfit),
        (4, &["create", "zoo-cage/owl", "--json-config", "-", "--check"], &unfit_variant),
        (4, &["create", "zoo-cage/owl", "--json-config", "-"], &impossible),
        (4, &["create", "zoo-cage/owl", "--json-config", "-"], &not_a_source),
        (4, &["create", "zoo-cage/owl", "--json-config", "-"], &fitting[..fitting.len() - 1]),
        (6, &["set", "zoo-cage/lion", "--json-config", "-", "--if-revision", "1"], &fitting),
        (2, &["set", "zoo-cage/lion", "--secret", &in_flag[0]], ""),
        (2, &["set", "zoo-cage/lion", "--set", &in_flag[1]], ""),
        (4, &["set", "zoo-cage/lion", "--secret", "animal=-"], &secret),
        (4, &["plan", "-"], &in_file),
        (4, &["apply", "-"], &in_file),
        (6, &["delete", "zoo-keeper/ada"], ""),
        (2, &["purge", "zoo-cage/lion"], ""),
        (2, &["reveal", "zoo-cage/lion", "place.code"], ""),
        (3, &["reveal", "zoo-cage/lion", "spares.7", "--yes"], ""),
        (5, &["call", "zoo-keeper/gone", "show-badge"], ""),
        (4, &["call", "zoo-cage/lion", "look", "--args", "{\"far\": 1}"], ""),
        (2, &["query", "zoo-cage/lion", "select 1"], ""),
    ];
    for (code, arguments, input) in commands {
        assert_no_secret_in_failure(yard, code, arguments, input);
    }
}

fn invalid_toml_error_quotes_no_line(yard: &TestYard) {
    let secret = canary("entered");
    for line in
        [format!("badge = {secret}"), format!("badge = 'env:BADGE'\nbadge = '{secret}'"), format!("badge = \"{secret}")]
    {
        let file = format!("version = 1\n[blocks.\"zoo-keeper/bob\"]\nname = \"b\"\n{line}\n");
        for command in ["plan", "apply"] {
            assert_no_secret_in_failure(yard, 4, &[command, "-"], &file);
        }
    }
}

fn unreachable_database_error_contains_no_password(yard: &TestYard) {
    let address = "sql-database/away";
    yard.create(
        address,
        &json!({"dialect": "postgres", "host": "127.0.0.1", "port": 1, "database": "d", "username": "u",
                "password": canary("entered")}),
    );
    for arguments in [&["query", address, "select 1"][..], &["execute", address, "select 1"], &["check", address]] {
        assert_no_secret_in_failure(yard, 1, arguments, "");
    }
    assert_no_secret_in_failure(yard, 1, &["call", address, "fetch-one", "--statement", "select 1"], "");
}

/// URL of a yard that contains the password of its server.
const ADDRESS: &str = "postgres://u:l3t-me-in@127.0.0.1:1/d";

/// Runs a command with this value of `BLOCKYARD_YARD`, or without it, and checks that the password
/// is not in its output.
fn assert_no_password(yard: &TestYard, variable: Option<&str>, arguments: &[&str]) {
    let mut command = yard.command(arguments);
    command.env_remove("BLOCKYARD_YARD").envs(variable.map(|address| ("BLOCKYARD_YARD", address)));
    let result = run_command(&mut command, None);
    let output = result.stdout + &result.stderr;
    assert!(!output.contains("l3t-me-in"), "{arguments:?}: {output}");
}

#[test]
fn password_of_a_yard_address_is_in_no_output() {
    let yard = TestYard::empty();
    for arguments in [&["list", "-v", "-v"][..], &["key", "status", "--json"], &["doctor"], &["init"]] {
        assert_no_password(&yard, Some(ADDRESS), arguments);
    }
    for (right, wrong) in [("postgres:", "postgre:"), (":1/", ":one/"), ("/d", "/d?scheme=s"), ("/d", "/d?schema=S-")] {
        assert_no_password(&yard, Some(&ADDRESS.replace(right, wrong)), &["list"]);
    }
}

#[test]
fn password_of_a_yard_address_is_not_in_the_help() {
    let yard = TestYard::empty();
    for arguments in [&["--help"][..], &["show", "--help"], &["key", "rotate", "--help"]] {
        assert_no_password(&yard, Some(ADDRESS), arguments);
    }
}

#[test]
fn password_of_a_yard_address_file_is_in_no_output() {
    let yard = TestYard::empty();
    std::fs::create_dir_all(yard.path(".config/blockyard")).expect("a folder");
    // Without quotes, the file is not valid TOML.
    for address in [format!("\"{ADDRESS}\""), ADDRESS.to_owned()] {
        let named = format!("[yards.prod]\nurl = {address}\n");
        std::fs::write(yard.path(".config/blockyard/config.toml"), named).expect("a file");
        assert_no_password(&yard, Some("prod"), &["list", "-v", "-v"]);
        std::fs::write(yard.path("blockyard.toml"), format!("yard = {address}\n")).expect("a file");
        assert_no_password(&yard, None, &["list", "-v", "-v"]);
    }
}

/// Returns everything that a yard stores, as text: every file of its folder, and every row of its
/// tables.
fn stored_content(yard: &TestYard) -> String {
    fn read(folder: &std::path::Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                read(&entry.path(), text);
            } else {
                text.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).expect("a file")));
            }
        }
    }
    let mut text = String::new();
    read(&yard.path("."), &mut text);
    if yard.backend() == Backend::Postgres {
        let tables = yard.sql("select tablename from pg_tables where schemaname = current_schema()");
        for table in tables.expect("its tables").lines() {
            text.push_str(&yard.sql(&format!("select t::text from {table} t")).expect("its rows"));
        }
    }
    text
}

fn secrets_are_encrypted_in_the_yard(yard: &TestYard) {
    create_blocks_with_secrets(yard);
    yard.ok(&["key", "rotate"]);
    yard.ok(&["export", "zoo-cage/lion", "--out", "blocks.toml"]);
    std::fs::remove_file(yard.path("west-door")).expect("the file is removed");
    let content = stored_content(yard);
    assert!(content.contains("to/the~south"), "the rest of the configuration is readable");
    assert_eq!(found_in(&content), None);
}

fn unusual_secrets_round_trip(yard: &TestYard) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let odd = [
        ("lines", "-----BEGIN KEY-----\r\n\"two\" 'quoted'\n\\back\\slash\\\n-----END KEY-----\n".to_owned()),
        ("binary", STANDARD.encode(&every_byte)),
        ("long", "0123456789abcdef".repeat(4 << 10)),
        ("empty", String::new()),
        ("unicode", "pässwörd 🦓 e\u{301} \u{202e}\u{feff}".to_owned()),
        ("white", " \t ".to_owned()),
        ("marker", "{\"$secret\":\"/doors/lines\"}".to_owned()),
        ("source", "env:HOME".to_owned()),
    ];
    let doors: Map<String, Value> = odd.iter().map(|(name, secret)| ((*name).to_owned(), json!(secret))).collect();
    yard.create("zoo-cage/odd", &json!({"animal": "owl", "doors": doors}));
    // Saving a new revision opens and re-seals the secrets.
    yard.ok(&["set", "zoo-cage/odd", "--set", "capacity=2"]);
    for (name, secret) in odd {
        assert_eq!(yard.reveal("zoo-cage/odd", &format!("doors.{name}")), secret, "{name}");
    }
}

fn one_trailing_newline_is_stripped_from_a_secret(yard: &TestYard) {
    std::fs::write(yard.path("badge.pem"), "from a file\n").expect("a file");
    yard.ok(&["create", "zoo-keeper/ada", "--set", "name=Ada", "--secret", "badge=@badge.pem"]);
    std::fs::remove_file(yard.path("badge.pem")).expect("gone");
    assert_eq!(yard.reveal("zoo-keeper/ada", "badge"), "from a file");
    assert_eq!(yard.config("zoo-keeper/ada")["badge"], json!("********"));
    for (typed, stored) in
        [("typed\n", "typed"), ("typed\r\n", "typed"), ("typed\n\n", "typed\n"), ("typed ", "typed ")]
    {
        yard.ok_with_input(&["set", "zoo-keeper/ada", "--secret", "badge=-"], typed);
        assert_eq!(yard.reveal("zoo-keeper/ada", "badge"), stored);
    }
}

fn secret_that_is_not_utf8_is_rejected(yard: &TestYard) {
    std::fs::write(yard.path("badge.bin"), b"\xff\xfe\x00badge").expect("a file");
    let refused = yard.fails(4, &["create", "zoo-keeper/ada", "--set", "name=Ada", "--secret", "badge=@badge.bin"]);
    assert!(refused.contains("UTF-8"), "{refused}");
    yard.fails(3, &["show", "zoo-keeper/ada"]);
}

fn masked_values_are_rejected_in_every_secret_field(yard: &TestYard) {
    create_blocks_with_secrets(yard);
    let shown = yard.config("zoo-cage/lion").to_string();
    for command in [&["set", "zoo-cage/lion", "--json-config", "-"], &["create", "zoo-cage/puma", "--json-config", "-"]]
    {
        let refused = yard.fails_with_input(4, command, &shown);
        for pointer in ["/spares/0", "/doors/north", "/doors/to~1the~0south", "/place/code", "/lock/pattern"] {
            assert!(refused.contains(&format!("{pointer}: `********` is what `show` prints")), "{refused}");
        }
    }
    let typed = yard.fails_with_input(4, &["set", "zoo-keeper/ada", "--secret", "badge=-"], "********\n");
    assert!(typed.contains("/badge: `********` is what `show` prints in place of a secret"), "{typed}");
    let file = "version = 1\n[blocks.\"zoo-keeper/ada\"]\nname = \"Ada\"\nbadge = \"********\"\n";
    for command in ["plan", "apply"] {
        let refused = yard.fails_with_input(4, &[command, "-"], file);
        assert!(refused.contains("/badge: `********` is what `show` prints in place of a secret"), "{refused}");
    }
    assert_eq!(yard.reveal("zoo-keeper/ada", "badge"), canary("badge"));
    assert_eq!(yard.reveal("zoo-cage/lion", "spares.0"), canary("later"));
    yard.fails(3, &["show", "zoo-cage/puma"]);
}

fn secret_in_a_flag_is_rejected_at_every_depth(yard: &TestYard) {
    for value in [
        "spares.0=plain-9127",
        "spares=[\"plain-9127\"]",
        "doors.north=plain-9127",
        "doors={\"north\": \"plain-9127\"}",
        "place={\"house\": \"cats\", \"code\": \"plain-9127\"}",
        "lock={\"how\": \"key\", \"pattern\": \"plain-9127\"}",
    ] {
        let refused = yard.fails(2, &["create", "zoo-cage/lion", "--set", "animal=lion", "--set", value]);
        assert!(refused.contains("use `--secret "), "{value}: {refused}");
        assert!(!refused.contains("plain-9127"), "{value}: {refused}");
    }
}

/// Returns the condition that selects a revision of a keeper, or its badge.
fn row(keeper: &str, revision: u32) -> String {
    format!("block = (select id from blocks where name = '{keeper}') and revision = {revision}")
}

fn ciphertext_is_bound_to_its_location(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    for keeper in ["ada", "bob", "eve"] {
        yard.keeper(keeper, keeper);
    }
    yard.ok_with_input(&["set", "zoo-keeper/eve", "--secret", "badge=-"], "eve's second");
    yard.create("zoo-cage/lion", &json!({"animal": "lion", "spares": ["first", "second"]}));
    let sealed = |of: &str| format!("(select sealed from secrets where {of})");
    let lion = |spare: u8| format!("{} and pointer = '/spares/{spare}'", row("lion", 1));
    for (from, to, address, field) in [
        (row("ada", 1), row("bob", 1), "zoo-keeper/bob", "badge"),
        (row("eve", 1), row("eve", 2), "zoo-keeper/eve", "badge"),
        (lion(1), lion(0), "zoo-cage/lion", "spares.0"),
    ] {
        yard.sql(&format!("update secrets set sealed = {} where {to}", sealed(&from))).expect("moved");
        let refused = yard.fails(5, &["reveal", address, field, "--yes"]);
        assert!(refused.contains("cannot open the sealed value: it was changed or moved"), "{address}: {refused}");
    }
    for call in [["zoo-keeper/bob", "show-badge"], ["zoo-keeper/eve", "introduce"], ["zoo-cage/lion", "look"]] {
        yard.fails(5, &["call", call[0], call[1]]);
    }
    assert_eq!(yard.reveal("zoo-keeper/ada", "badge") + &yard.reveal("zoo-keeper/eve@1", "badge"), "adaeve");
}

fn data_key_is_bound_to_its_block(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    for keeper in ["ada", "bob", "eve"] {
        yard.keeper(keeper, keeper);
    }
    let of_ada = |column: &str| format!("(select {column} from blocks where name = 'ada')");
    yard.sql(&format!("update blocks set data_key = {} where name = 'bob'", of_ada("data_key"))).expect("moved");
    // Moving all ciphertexts of another block together fails as well.
    yard.sql(&format!("update blocks set data_key = {} where name = 'eve'", of_ada("data_key"))).expect("moved");
    yard.sql(&format!(
        "update secrets set sealed = (select sealed from secrets where {}) where {}",
        row("ada", 1),
        row("eve", 1)
    ))
    .expect("moved");
    let seal = format!("(select seal from revisions where {})", row("ada", 1));
    yard.sql(&format!("update revisions set seal = {seal} where {}", row("eve", 1))).expect("moved");
    for address in ["zoo-keeper/bob", "zoo-keeper/eve"] {
        for arguments in
            [&["show", address][..], &["reveal", address, "badge", "--yes"], &["call", address, "introduce"]]
        {
            yard.fails(5, arguments);
        }
    }
    assert_eq!(yard.reveal("zoo-keeper/ada", "badge"), "ada");
}

fn revision_modified_outside_blockyard_is_rejected(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    yard.disable_triggers("revisions");
    let changes = [
        ("config", "config = replace(config, 'config', 'other')"),
        ("bundle", "bundle = (select digest from bundles where name = 'sql')"),
        ("checksum", "checksum = bundle"),
        ("seal", "seal = (select r.seal from revisions r join blocks b on b.id = r.block where b.name = 'ada')"),
    ];
    yard.keeper("ada", "ada's");
    for (name, change) in changes {
        yard.keeper(name, "badge");
        yard.sql(&format!("update revisions set {change} where {}", row(name, 1))).expect("changed");
        let address = format!("zoo-keeper/{name}");
        let refused = yard.fails(5, &["show", &address]);
        let words = format!("block `{address}@1` was modified by a program other than Blockyard");
        assert!(refused.contains(&words), "{refused}");
        yard.fails(5, &["call", &address, "show-badge"]);
    }
    // No command re-seals a changed revision.
    for arguments in [
        &["set", "zoo-keeper/config", "--unset", "badge"][..],
        &["rollback", "zoo-keeper/config@1"],
        &["purge", "zoo-keeper/config", "--yes"],
        &["diff", "zoo-keeper/ada", "zoo-keeper/config"],
        &["export"],
    ] {
        yard.fails(5, arguments);
    }
}
