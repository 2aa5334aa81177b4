use outrigger_consul::kv::KvPair;

use super::*;

fn record(index: u64) -> Record {
    let pair = KvPair {
        key: format!("k{index}"),
        ..KvPair::default()
    };
    Record {
        index,
        changes: vec![Change::PutKey(Box::new(pair))],
    }
}

fn open(folder: &Path) -> (Journal, State) {
    Journal::open(folder, u64::MAX).unwrap()
}

#[test]
fn what_was_appended_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(folder.path());
    journal.append(&[record(1), record(2)]).unwrap();
    journal.append(&[record(3)]).unwrap();
    let (_, state) = open(folder.path());
    assert_eq!(state.index, 3);
    assert_eq!(state.kv.keys().collect::<Vec<_>>(), ["k1", "k2", "k3"]);
}

#[test]
fn a_tail_torn_at_any_byte_is_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(folder.path());
    journal.append(&[record(1)]).unwrap();
    journal.append(&[record(2)]).unwrap();
    let path = folder.path().join(JOURNAL);
    let whole = std::fs::read(&path).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in first..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let (mut journal, state) = open(folder.path());
        assert_eq!(state.index, 1, "cut at {cut}");
        journal.append(&[record(2)]).unwrap();
        assert_eq!(open(folder.path()).1.index, 2, "cut at {cut}");
    }
}

#[test]
fn damage_in_the_middle_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(folder.path());
    journal.append(&[record(1)]).unwrap();
    journal.append(&[record(2)]).unwrap();
    let path = folder.path().join(JOURNAL);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(
        Journal::open(folder.path(), u64::MAX),
        Err(Error::Damaged { offset: 0, .. })
    ));
}

#[test]
fn a_snapshot_empties_the_log_and_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, mut state) = Journal::open(folder.path(), 1).unwrap();
    let path = folder.path().join(JOURNAL);
    for index in 1..=3 {
        let record = record(index);
        state.absorb(index, &record.changes, &mut BTreeSet::new());
        journal.append(&[record]).unwrap();
    }
    let log = std::fs::read(&path).unwrap();
    journal.compact_if_large(&state).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    journal.append(&[record(4)]).unwrap();
    let (_, reread) = open(folder.path());
    assert_eq!(reread.index, 4);
    assert_eq!(reread.kv.len(), 4);
    // A crash between snapshot and truncation leaves the old records; they are not applied twice.
    std::fs::write(&path, log).unwrap();
    assert_eq!(open(folder.path()).1, state);
}
