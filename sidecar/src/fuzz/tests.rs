//! The corpora, without a fuzzer.

use std::path::Path;

use super::TARGETS;

/// Z1, Z3 to Z7: what once was found stays found.
#[test]
fn every_corpus_runs_through() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for target in TARGETS {
        let folder = corpora.join(target.name);
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let input = std::fs::read(&path).unwrap();
            let ran = std::panic::catch_unwind(|| (target.run)(&input));
            assert!(ran.is_ok(), "{} breaks {}", path.display(), target.name);
            count += 1;
        }
        assert!(count >= 5, "{count} inputs in {}", folder.display());
    }
}
