//! Folders, locks, secrets: on a temporary folder.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn everything_of_a_run_is_private_and_ignored_by_git() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("run-folder");
    open(&root).unwrap();
    let paths = Paths::new(root.clone(), root.join("run"));
    prepare(&paths, ["web-v1-0"].into_iter()).unwrap();
    let first = Tokens::prepare(&paths, [("web-v1-0", "web")].into_iter()).unwrap();
    let demo = Demo::prepare(&paths.demo()).unwrap();
    for path in [
        root.clone(),
        paths.sockets("web-v1-0"),
        root.join("tokens"),
        root.join("keys"),
    ] {
        assert_eq!(mode(&path), 0o700, "{}", path.display());
    }
    for path in [
        paths.token("web-v1-0"),
        paths.management_token(),
        paths.registry_tokens(),
        paths.demo(),
    ] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert_eq!(
        std::fs::read_to_string(root.join(".gitignore")).unwrap(),
        "*\n"
    );

    let again = Tokens::prepare(&paths, [("web-v1-0", "web")].into_iter()).unwrap();
    assert_eq!(first.management(), again.management());
    assert_eq!(
        Demo::prepare(&paths.demo()).unwrap().users[0].password,
        demo.users[0].password
    );
    assert_eq!(
        demo.user("alice").unwrap().email,
        demo.user("alice@example.com").unwrap().email
    );
    assert!(demo.user("carol").is_none());
    assert!(!format!("{first:?}{demo:?}{:?}", demo.users[0]).contains(&demo.users[0].password));
}

#[test]
fn a_folder_with_strangers_files_is_refused_and_fresh_keeps_only_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
    assert!(matches!(open(folder.path()), Err(Error::Foreign(_))));
    assert!(folder.path().join("thesis.tex").exists());

    let ours = tempfile::tempdir().unwrap();
    open(ours.path()).unwrap();
    let lock = Lock::take(ours.path()).unwrap();
    let paths = Paths::new(ours.path().to_owned(), ours.path().join("run"));
    prepare(&paths, std::iter::empty()).unwrap();
    empty(ours.path()).unwrap();
    let left: Vec<_> = std::fs::read_dir(ours.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["run.json"]);
    drop(lock);
}

#[test]
fn a_second_run_is_refused_and_names_the_first() {
    let folder = tempfile::tempdir().unwrap();
    assert!(
        holder::<serde_json::Value>(folder.path())
            .unwrap()
            .is_none()
    );
    let mut lock = Lock::take(folder.path()).unwrap();
    lock.write(&serde_json::json!({"pid": 4711, "long": "x".repeat(100)}))
        .unwrap();
    lock.write(&serde_json::json!({"pid": 4711})).unwrap();
    let refused = Lock::take(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("with pid 4711"), "{refused}");
    assert_eq!(
        holder::<serde_json::Value>(folder.path()).unwrap(),
        Some(serde_json::json!({"pid": 4711}))
    );
    drop(lock);
    assert!(
        holder::<serde_json::Value>(folder.path())
            .unwrap()
            .is_none()
    );
    let mut next = Lock::take(folder.path()).unwrap();
    assert_eq!(
        next.previous::<serde_json::Value>(),
        Some(serde_json::json!({"pid": 4711}))
    );
}

#[test]
fn sockets_move_out_of_a_folder_that_is_too_deep() {
    let choose = |root: &str| {
        SocketFolder::choose(Path::new(root), Path::new("/tmp"), ["web-v1-0"].into_iter())
    };
    assert_eq!(choose("/data"), SocketFolder::Inside("/data/run".into()));
    // "/run/web-v1-0/outbound.sock" has 27 bytes, so that 80 still fit.
    let fits = format!("/{}", "d".repeat(79));
    assert!(matches!(choose(&fits), SocketFolder::Inside(_)));
    let deep = format!("{fits}d");
    let SocketFolder::Outside(outside) = choose(&deep) else {
        panic!("it does not fit")
    };
    assert!(
        outside.starts_with("/tmp") && outside.as_os_str().len() < 40,
        "{}",
        outside.display()
    );
    assert_eq!(choose(&deep), SocketFolder::Outside(outside));
    assert_ne!(choose(&deep), choose(&format!("{deep}e")));
}

#[test]
fn a_short_folder_that_others_can_enter_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = SocketFolder::Outside(temporary.path().join("short"));
    folder.prepare().unwrap();
    assert_eq!(mode(folder.path()), 0o700);
    folder.prepare().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(folder.prepare().is_err());
    folder.remove().unwrap();
    assert!(!folder.path().exists());
}
