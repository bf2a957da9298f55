//! `cp`, `ls`, `cat` and `rm` on a bucket.

use std::path::PathBuf;

use blockyard_tests::http_proxy::Fault;
use blockyard_tests::web::{Answer, Web};
use serde_json::json;

use crate::cloud::{Cloud, noise};
#[cfg(target_os = "linux")]
use crate::memory::peak_memory;
use crate::storage_rest::start;

fn folder(cloud: &Cloud, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let folder = cloud.folder.path().join(name);
    for (file, bytes) in files {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }
    folder
}

#[test]
fn files_are_uploaded_downloaded_and_copied() {
    let Some(cloud) = Cloud::start() else { return };
    let yard = &cloud.yard;
    let bytes = noise((17 << 20) + 1);
    let file = cloud.write("a.bin", &bytes);
    let file = file.to_str().expect("a path");
    let copied = yard.json(&["cp", file, "gcs-bucket/zoo:x/a.bin"]);
    assert_eq!(copied, json!({"objects": 1, "bytes": bytes.len()}));
    assert!(cloud.stored("data/x/a.bin").expect("on the disk") == bytes);
    yard.ok(&["cp", file, "gcs-bucket/zoo:y/"]);
    assert!(cloud.stored("data/y/a.bin").is_some(), "the object has the name of the file");
    // Download to a file, into a folder, to standard output.
    let out = yard.path("out.bin");
    yard.ok(&["cp", "gcs-bucket/zoo:x/a.bin", out.to_str().expect("a path")]);
    assert!(std::fs::read(&out).expect("the file") == bytes);
    std::fs::create_dir(yard.path("into")).expect("a folder");
    yard.ok(&["cp", "gcs-bucket/zoo:x/a.bin", yard.path("into").to_str().expect("a path")]);
    assert!(std::fs::read(yard.path("into/a.bin")).expect("the file") == bytes);
    // With standard input and output.
    yard.ok_with_input(&["cp", "-", "gcs-bucket/zoo:note", "--content-type", "text/plain"], "hello");
    assert_eq!(yard.ok(&["cat", "gcs-bucket/zoo:note"]), "hello");
    assert_eq!(yard.ok(&["cp", "gcs-bucket/zoo:note", "-"]), "hello");
    assert_eq!(cloud.call(&["stat", "--path", "note"])["content_type"], "text/plain");
    // Within a storage, and to another block.
    yard.ok(&["cp", "gcs-bucket/zoo:note", "gcs-bucket/zoo:copies/"]);
    assert_eq!(cloud.stored("data/copies/note").expect("the copy"), b"hello");
    yard.ok(&["create", "gcs-bucket/all", "--set", "credentials=gcp-credentials/prod", "--set", "bucket=zoo"]);
    yard.ok(&["cp", "gcs-bucket/zoo:note", "gcs-bucket/all:elsewhere/note"]);
    assert_eq!(cloud.stored("elsewhere/note").expect("the other copy"), b"hello");
    assert_eq!(yard.json(&["ls", "gcs-bucket/all:elsewhere/"])["objects"][0]["content_type"], "text/plain");
}

#[test]
fn folders_are_copied_recursively() {
    let Some(cloud) = Cloud::start() else { return };
    let yard = &cloud.yard;
    let from = folder(&cloud, "tree", &[("a", b"1"), ("b/c", b"22"), ("b/d/e ü", b"333")]);
    let from = from.to_str().expect("a path");
    let refused = yard.fails(2, &["cp", from, "gcs-bucket/zoo:t"]);
    assert!(refused.contains("is a folder") && refused.contains("`-r`"), "{refused}");
    assert_eq!(yard.json(&["cp", "-r", from, "gcs-bucket/zoo:t"]), json!({"objects": 3, "bytes": 6}));
    assert_eq!(cloud.stored("data/t/b/d/e ü").expect("on the disk"), b"333");
    let listed = yard.ok(&["ls", "gcs-bucket/zoo:t/"]);
    assert!(listed.contains("  t/a\n") && listed.contains("  t/b/\n") && !listed.contains("t/b/c"), "{listed}");
    let all = yard.json(&["ls", "-r", "gcs-bucket/zoo:t/"]);
    assert_eq!(all["objects"].as_array().expect("objects").len(), 3);
    let to = yard.path("back");
    assert_eq!(yard.json(&["cp", "-r", "gcs-bucket/zoo:t", to.to_str().expect("a path")])["objects"], 3);
    assert_eq!(std::fs::read(to.join("b/d/e ü")).expect("the file"), b"333");
    assert_eq!(yard.json(&["cp", "-r", "gcs-bucket/zoo:t", "gcs-bucket/zoo:t/u"])["objects"], 3);
    assert_eq!(cloud.stored("data/t/u/b/c").expect("the copy"), b"22");
    let refused = yard.fails(3, &["cp", "-r", "gcs-bucket/zoo:nothing", to.to_str().expect("a path")]);
    assert!(refused.contains("no objects below `gcs-bucket/zoo:nothing`"), "{refused}");
}

#[test]
fn failed_copy_is_reported_and_preserves_the_old_file() {
    let Some(cloud) = Cloud::with(|request| {
        let damaged =
            request.uri.path().contains("cut") && request.uri.query().is_some_and(|query| query.contains("alt=media"));
        if damaged { Fault::CutBody(1_000) } else { Fault::Pass }
    }) else {
        return;
    };
    let yard = &cloud.yard;
    cloud.put("cut", &noise(100_000), &[]);
    let out = yard.path("out.bin");
    std::fs::write(&out, "what was there").expect("a file");
    yard.fails(1, &["cp", "gcs-bucket/zoo:cut", out.to_str().expect("a path")]);
    assert_eq!(std::fs::read_to_string(&out).expect("the file"), "what was there");
    let refused = yard.fails(6, &["cp", "--if-absent", "gcs-bucket/zoo:cut", out.to_str().expect("a path")]);
    assert!(refused.contains("already exists"), "{refused}");

    let refused = yard.fails(2, &["cp", "a", "b"]);
    assert!(refused.contains("neither the source nor the destination is an object path"), "{refused}");
    let refused = yard.fails(2, &["cat", "a"]);
    assert!(refused.contains("use `TYPE/NAME:PATH`"), "{refused}");
    let refused = yard.fails(3, &["cp", "/nowhere/a", "gcs-bucket/zoo:a"]);
    assert!(refused.contains("`/nowhere/a` cannot be read"), "{refused}");
    let refused = yard.fails_with_input(2, &["cp", "-", "gcs-bucket/zoo:"], "x");
    assert!(refused.contains("the destination object has no name"), "{refused}");
    let refused = yard.fails(1, &["cat", "gcs-bucket/zoo:nobody"]);
    assert!(refused.contains("object `data/nobody` of bucket `zoo` was not found"), "{refused}");
    let refused = yard.fails(2, &["ls", "gcp-credentials/prod:"]);
    assert!(refused.contains("object-storage"), "{refused}");

    let refused = yard.fails(2, &["rm", "gcs-bucket/zoo:cut"]);
    assert!(refused.contains("confirm with `--yes`"), "{refused}");
    assert!(cloud.stored("data/cut").is_some());
    assert_eq!(yard.json(&["rm", "gcs-bucket/zoo:cut", "--yes"]), json!({"removed": "gcs-bucket/zoo:cut"}));
    assert_eq!(cloud.stored("data/cut"), None);
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_depend_on_the_object_size() {
    const BYTES: u64 = 128 << 20;
    let Some(cloud) = Cloud::start() else { return };
    let file = cloud.folder.path().join("big");
    let mut big = std::fs::File::create(&file).expect("a file");
    for chunk in blockyard_tests::web::pattern(BYTES) {
        std::io::Write::write_all(&mut big, &chunk).expect("a piece");
    }
    let (file, back) = (file.to_str().expect("a path"), cloud.yard.path("back"));
    cloud.put("small", b"lions", &[]);
    let idle = peak_memory(&cloud.yard, &["cat", "gcs-bucket/zoo:small"]);
    let up = peak_memory(&cloud.yard, &["cp", file, "gcs-bucket/zoo:big"]);
    let down = peak_memory(&cloud.yard, &["cp", "gcs-bucket/zoo:big", back.to_str().expect("a path")]);
    assert_eq!(std::fs::metadata(&back).expect("the file").len(), BYTES);
    let over = |peak: u64| peak.saturating_sub(idle) >> 10;
    assert!(idle > 1_000 && over(up) <= 64 && over(down) <= 64, "MiB over idle: up {}, down {}", over(up), over(down));
}

/// Creates `gcs-bucket/rest` on a server with these objects. The content of an object is its name.
fn named(names: &'static [&'static str]) -> Option<(Cloud, Web)> {
    start(move |request| {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let resource = |name: &str| json!({"name": name, "size": name.len().to_string(), "generation": "1"});
        let object = path
            .rsplit_once("/o/")
            .map(|(_, name)| percent_encoding::percent_decode_str(name).decode_utf8().expect("text").into_owned());
        match object {
            None => Answer::json(&json!({"items": names.iter().map(|name| resource(name)).collect::<Vec<_>>()})),
            Some(name) if query.contains("alt=media") => Answer::text(name),
            Some(name) => Answer::json(&resource(&name)),
        }
    })
}

#[test]
fn colliding_file_names_are_rejected() {
    let Some((cloud, _web)) = named(&["c/a/b.txt", "c/a//b.txt", "c/a/./b.txt", "c/d", "c/d/e", "c/x\\y"]) else {
        return;
    };
    let yard = &cloud.yard;
    let back = yard.path("back");
    let to = back.to_str().expect("a path");
    let refused = yard.fails(4, &["cp", "-r", "gcs-bucket/rest:c", to]);
    assert!(refused.contains("4 objects cannot be saved as files; nothing was copied"), "{refused}");
    for line in [
        "`c/a//b.txt` has an empty component",
        "`c/a/./b.txt` has a component `.` or `..`",
        "`c/x\\y` contains a backslash",
        "`c/d` is the folder of `c/d/e`",
        "`blockyard cp 'gcs-bucket/rest:c/a//b.txt' FILE`",
        "`--skip-bad-names`",
    ] {
        assert!(refused.contains(line), "{line}: {refused}");
    }
    assert!(!back.exists(), "nothing was written");
    // Both hints work.
    let one = yard.path("one");
    yard.ok(&["cp", "gcs-bucket/rest:c/a//b.txt", one.to_str().expect("a path")]);
    assert_eq!(std::fs::read_to_string(&one).expect("the file"), "c/a//b.txt");
    let output = yard.run(&["cp", "-r", "gcs-bucket/rest:c", to, "--skip-bad-names"]);
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(output.stderr.contains("4 objects cannot be saved as files; the others were copied"), "{}", output.stderr);
    assert_eq!(std::fs::read_to_string(back.join("a/b.txt")).expect("the file"), "c/a/b.txt");
    assert_eq!(std::fs::read_to_string(back.join("d/e")).expect("the file"), "c/d/e");
    assert_eq!(std::fs::read_dir(&back).expect("the folder").count(), 2);
}

#[test]
#[cfg(unix)]
fn copy_does_not_follow_links() {
    use std::os::unix::fs::symlink;
    let Some((cloud, _web)) = named(&["c/a", "c/folder/b"]) else { return };
    let yard = &cloud.yard;
    let (back, outside) = (yard.path("back"), yard.path("outside"));
    std::fs::create_dir(&outside).expect("a folder");
    std::fs::write(outside.join("file"), "as it was").expect("a file");
    for (link, target) in [("a", outside.join("file")), ("folder", outside.clone()), ("a", yard.path("dangling"))] {
        let _ = std::fs::remove_dir_all(&back);
        std::fs::create_dir(&back).expect("a folder");
        symlink(target, back.join(link)).expect("a link");
        let refused = yard.fails(6, &["cp", "-r", "gcs-bucket/rest:c", back.to_str().expect("a path")]);
        assert!(refused.contains("is a link, which is not followed"), "{refused}");
        assert_eq!(std::fs::read_dir(&back).expect("the folder").count(), 1, "nothing was written before the error");
    }
    let refused = yard.fails(6, &["cp", "gcs-bucket/rest:c/a", back.to_str().expect("a path")]);
    assert!(refused.contains("is a link"), "{refused}");
    assert_eq!(std::fs::read_to_string(outside.join("file")).expect("the file"), "as it was");
    assert_eq!(std::fs::read_dir(&outside).expect("the folder").count(), 1);
    // A destination that is a link itself is followed.
    let real = yard.path("real");
    std::fs::create_dir(&real).expect("a folder");
    std::fs::remove_file(back.join("a")).expect("gone");
    symlink(&real, yard.path("link")).expect("a link");
    yard.ok(&["cp", "-r", "gcs-bucket/rest:c", yard.path("link").to_str().expect("a path")]);
    assert_eq!(std::fs::read_to_string(real.join("folder/b")).expect("the file"), "c/folder/b");
}

#[test]
fn endless_list_is_an_error() {
    for (token, reason) in [("same", "a page token was repeated"), ("new", "two pages began with the same entry")] {
        let count = std::sync::atomic::AtomicUsize::new(0);
        let started = start(move |request| {
            assert!(request.target.contains("/o"), "{}", request.target);
            let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let token = if token == "new" { format!("t{number}") } else { token.to_owned() };
            Answer::json(&json!({"items": [{"name": "c/a", "size": "0", "generation": "1"}], "nextPageToken": token}))
        });
        let Some((cloud, _web)) = started else { return };
        for arguments in [
            &["cp", "-r", "gcs-bucket/rest:c", "back"][..],
            &["ls", "-r", "gcs-bucket/rest:", "--json"],
            &["cp", "-r", "gcs-bucket/rest:c", "gcs-bucket/rest:d"],
        ] {
            let refused = cloud.yard.fails(7, arguments);
            assert!(refused.contains(reason), "{arguments:?}: {refused}");
        }
    }
}

/// Cloud Storage decompresses objects stored with gzip for a client that does not accept gzip
/// ("Transcoding of gzip-compressed files"); size and checksum are those of the stored bytes.
#[test]
fn gzip_encoded_objects_are_read() {
    let text = b"lions and tigers";
    let started = start(move |request| {
        let resource = json!({
            "name": "log.txt", "size": "36", "crc32c": "AAAAAA==", "generation": "1", "contentEncoding": "gzip",
            "contentType": "text/plain",
        });
        match request.target.contains("alt=media") {
            true => Answer::text(text.as_slice()).header("x-goog-stored-content-encoding", "gzip"),
            false if !request.target.contains("/o/") => Answer::json(&json!({ "items": [resource] })),
            false => Answer::json(&resource),
        }
    });
    let Some((cloud, _web)) = started else { return };
    let yard = &cloud.yard;
    assert_eq!(yard.ok(&["cat", "gcs-bucket/rest:log.txt"]).as_bytes(), text);
    yard.ok(&["cp", "gcs-bucket/rest:log.txt", "out.txt"]);
    assert_eq!(std::fs::read(yard.path("out.txt")).expect("the file"), text);
    yard.ok(&["cp", "-r", "gcs-bucket/rest:", "all"]);
    assert_eq!(std::fs::read(yard.path("all/log.txt")).expect("the file"), text);
    let stat = yard.json(&["call", "gcs-bucket/rest", "stat", "--path", "log.txt"]);
    assert_eq!((&stat["content_encoding"], &stat["size"]), (&json!("gzip"), &json!(36)));
    let ranged = yard.run(&["call", "gcs-bucket/rest", "get", "--path", "log.txt", "--offset", "1", "--out", "part"]);
    assert!(ranged.code != 0 && ranged.stderr.contains("does not support ranges"), "{}", ranged.stderr);
}
