use super::*;

fn issue(folder: &std::path::Path, name: &str) -> Files {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let files = Files {
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    };
    std::fs::write(&files.certificate, certificate.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

#[test]
fn what_is_wrong_with_the_files_is_told_by_key_file_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (issue(folder.path(), "one"), issue(folder.path(), "two"));
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no PEM at all").unwrap();
    let gone = folder.path().join("gone.pem");
    let pair = |certificate: &std::path::Path, key: &std::path::Path| Files {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    let cases = [
        (
            pair(&gone, &one.key),
            "sidecar.edge.certificate = ",
            "No such file or directory (os error 2); expected a PEM file",
        ),
        (
            pair(&one.certificate, &gone),
            "sidecar.edge.key = ",
            "No such file or directory (os error 2); expected a PEM file",
        ),
        (
            pair(&empty, &one.key),
            "sidecar.edge.certificate = ",
            "holds no certificate in PEM; expected the server's own first",
        ),
        (
            pair(&one.key, &one.key),
            "sidecar.edge.certificate = ",
            "holds no certificate in PEM",
        ),
        (
            pair(&one.certificate, &empty),
            "sidecar.edge.key = ",
            "holds no private key in PEM; expected one, not encrypted",
        ),
        (
            pair(&one.certificate, &two.key),
            "sidecar.edge.key = ",
            "is not the key of the certificate in ",
        ),
    ];
    for (files, key, what) in cases {
        let told = Current::load(files).unwrap_err().to_string();
        assert!(told.starts_with(key) && told.contains(what), "{told}");
    }
    Current::load(one).unwrap();
}

#[test]
fn tickets_are_two_and_good_for_an_hour_at_most_and_nothing_is_early() {
    let folder = tempfile::tempdir().unwrap();
    let current = Current::load(issue(folder.path(), "one")).unwrap();
    let config = current.config();
    assert_eq!(config.send_tls13_tickets, 2);
    assert!(config.ticketer.enabled());
    // What a client is told, and what the keys are kept for.
    assert_eq!(config.ticketer.lifetime(), 3600);
    assert_eq!(config.max_early_data_size, 0);
    assert!(!config.session_storage.can_cache());
    let ticket = config.ticketer.encrypt(b"a session").unwrap();
    assert_eq!(config.ticketer.decrypt(&ticket).unwrap(), b"a session");
}

#[test]
fn a_pair_is_taken_up_when_it_is_whole_and_the_one_in_force_stays_until_then() {
    let folder = tempfile::tempdir().unwrap();
    let files = issue(folder.path(), "one");
    let next = issue(folder.path(), "two");
    let current = Current::load(files.clone()).unwrap();
    let first = current.config();
    let mut seen = Seen {
        print: current.first,
        told: None,
    };
    let mut look = || {
        let look = seen.look(files.read(), &files);
        let kind = match &look {
            Look::Same => "same",
            Look::Taken(..) => "taken",
            Look::Refused(_) => "refused",
        };
        current.take(look, &mut seen.told);
        kind
    };
    assert_eq!(look(), "same");
    std::fs::copy(&next.certificate, &files.certificate).unwrap();
    assert_eq!([look(), look()], ["refused", "same"]);
    assert!(Arc::ptr_eq(&first, &current.config()));
    std::fs::copy(&next.key, &files.key).unwrap();
    assert_eq!([look(), look()], ["taken", "same"]);
    assert!(!Arc::ptr_eq(&first, &current.config()));
    std::fs::remove_file(&files.key).unwrap();
    assert_eq!(look(), "refused");
    std::fs::copy(&next.key, &files.key).unwrap();
    assert_eq!(look(), "same");
}
