//! The examples of RFC 7541, what must be refused, and the h2 crate as the other side of a connection.

use bytes::Bytes;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;

const WIDE: Bounds = Bounds {
    bytes: 1 << 16,
    count: 1000,
};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.bytes().filter(|byte| *byte != b' ').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let mut fields = Vec::new();
    decoder.decode(block, true, WIDE, |field| fields.push(text(&field)))?;
    Ok(fields)
}

fn text(field: &Field) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&field.name), text(&field.value))
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    fields.iter().map(owned).collect()
}

/// C.2
#[test]
fn single_fields_are_read() {
    for (block, field, never_indexed, held) in [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            ("custom-key", "custom-header"),
            false,
            55,
        ),
        (
            "040c 2f73 616d 706c 652f 7061 7468",
            (":path", "/sample/path"),
            false,
            0,
        ),
        (
            "1008 7061 7373 776f 7264 0673 6563 7265 74",
            ("password", "secret"),
            true,
            0,
        ),
        ("82", (":method", "GET"), false, 0),
    ] {
        let mut decoder = Decoder::new(4096);
        let mut found = Vec::new();
        let size = decoder.decode(&bytes(block), true, WIDE, |field| found.push(field));
        assert_eq!(size.unwrap().count, 1);
        assert_eq!([text(&found[0])], pairs(&[field])[..]);
        assert_eq!(found[0].never_indexed, never_indexed);
        assert_eq!(decoder.table_size(), held);
    }
}

const REQUESTS: [&[(&str, &str)]; 3] = [
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
];

/// C.3 without Huffman codes, C.4 with them; ours are the latter.
#[test]
fn requests_on_one_connection_share_a_table() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    let (mut of_plain, mut of_coded) = (Decoder::new(4096), Decoder::new(4096));
    let mut encoder = Encoder::new(4096);
    for ((fields, held), (plain, coded)) in REQUESTS
        .iter()
        .zip([57, 110, 164])
        .zip(plain.iter().zip(coded))
    {
        assert_eq!(decode(&mut of_plain, &bytes(plain)), Ok(pairs(fields)));
        assert_eq!(decode(&mut of_coded, &bytes(coded)), Ok(pairs(fields)));
        let mut block = Vec::new();
        encoder.begin(&mut block);
        for (name, value) in *fields {
            encoder.field(
                name.as_bytes(),
                value.as_bytes(),
                Indexing::Incremental,
                &mut block,
            );
        }
        assert_eq!(block, bytes(coded));
        for size in [
            of_plain.table_size(),
            of_coded.table_size(),
            encoder.table_size(),
        ] {
            assert_eq!(size, held);
        }
    }
}

/// C.6: a table of 256 bytes, entries evicted.
#[test]
fn the_oldest_entries_make_room() {
    let blocks = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e \
         919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 \
         821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed \
         4ee5 b106 3d50 07",
    ];
    let location = ("location", "https://www.example.com");
    let (early, late) = (
        "Mon, 21 Oct 2013 20:13:21 GMT",
        "Mon, 21 Oct 2013 20:13:22 GMT",
    );
    let cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let private = ("cache-control", "private");
    let expected: [&[(&str, &str)]; 3] = [
        &[(":status", "302"), private, ("date", early), location],
        &[(":status", "307"), private, ("date", early), location],
        &[
            (":status", "200"),
            private,
            ("date", late),
            location,
            ("content-encoding", "gzip"),
            ("set-cookie", cookie),
        ],
    ];
    let mut decoder = Decoder::new(256);
    for ((block, expected), held) in blocks.iter().zip(expected).zip([222, 222, 215]) {
        assert_eq!(decode(&mut decoder, &bytes(block)), Ok(pairs(expected)));
        assert_eq!(decoder.table_size(), held);
    }
}

#[test]
fn what_cannot_be_understood_is_an_error() {
    for (block, expected) in [
        ("80", Error::Index(0)),
        ("be", Error::Index(62)),
        ("7e 01 61", Error::Index(62)),
        ("82 3f e1 0f", Error::LateUpdate),
        ("3f e2 1f", Error::TableSize(4097, 4096)),
        ("40", Error::Truncated),
        ("40 03 61 61", Error::Truncated),
        ("00 81 ff 00", Error::Huffman),
        ("ff ff ff ff ff ff", Error::Number),
    ] {
        let mut decoder = Decoder::new(4096);
        assert_eq!(
            decode(&mut decoder, &bytes(block)),
            Err(expected),
            "{block}"
        );
    }
}

#[test]
fn a_list_past_its_bounds_is_counted_and_stays_in_step() {
    let mut encoder = Encoder::new(4096);
    let mut block = Vec::new();
    for number in 0..10 {
        let name = format!("x-{number}");
        encoder.field(name.as_bytes(), b"v", Indexing::Incremental, &mut block);
    }
    let mut again = Vec::new();
    encoder.field(b"x-9", b"v", Indexing::Incremental, &mut again);
    assert_eq!(again.len(), 1, "by its index");
    let each = "x-0".len() + "v".len() + 32;
    for (bytes, count, handed_out) in [(1000, 3, 3), (each * 4, 1000, 4), (1000, 1000, 10)] {
        let mut decoder = Decoder::new(4096);
        let bounds = Bounds { bytes, count };
        let mut fields = Vec::new();
        let size = decoder.decode(&block, true, bounds, |field| fields.push(field));
        let size = size.unwrap();
        assert_eq!((size.bytes, size.count), (10 * each, 10));
        assert_eq!(size.fits(bounds), handed_out == 10);
        assert_eq!(fields.len(), handed_out);
        assert_eq!(decode(&mut decoder, &again), Ok(pairs(&[("x-9", "v")])));
    }
}

#[test]
fn a_field_that_never_ends_is_not_kept() {
    let mut decoder = Decoder::new(4096);
    let bounds = Bounds {
        bytes: 1000,
        count: 10,
    };
    let mut block = vec![0x40];
    integer::encode(1_000_000, 7, 0, &mut block);
    let mut outcome = decoder.decode(&block, false, bounds, |_| {});
    for _ in 0..5 {
        if outcome.is_ok() {
            outcome = decoder.decode(&[b'a'; 1000], false, bounds, |_| {});
        }
    }
    assert_eq!(outcome, Err(Error::FieldSize(4000)));
}

/// RFC 7541, 4.2: the smallest size since the last block is told, or the peer would keep what we have evicted.
#[test]
fn a_smaller_table_is_announced_before_the_next_field() {
    let mut encoder = Encoder::new(4096);
    let mut decoder = Decoder::new(4096);
    let mut block = Vec::new();
    encoder.field(b"a", b"b", Indexing::Incremental, &mut block);
    decode(&mut decoder, &block).unwrap();
    encoder.allow(0);
    encoder.allow(1000);
    encoder.allow(8192);
    let mut block = Vec::new();
    encoder.begin(&mut block);
    assert_eq!(block, bytes("20 3f e1 1f"));
    encoder.field(b"a", b"b", Indexing::Incremental, &mut block);
    assert_eq!(decode(&mut decoder, &block), Ok(pairs(&[("a", "b")])));
    assert_eq!(decoder.table_size(), 34);
    let mut block = Vec::new();
    encoder.begin(&mut block);
    assert!(block.is_empty(), "once");
}

#[test]
fn what_never_is_indexed_stays_so_on_the_next_hop() {
    let field = Field {
        name: Bytes::from_static(b":path").into(),
        value: Bytes::from_static(b"/").into(),
        never_indexed: true,
    };
    let mut block = Vec::new();
    Encoder::new(4096).forward(&field, Indexing::Incremental, &mut block);
    let mut found = Vec::new();
    let mut decoder = Decoder::new(4096);
    decoder
        .decode(&block, true, WIDE, |field| found.push(field))
        .unwrap();
    assert_eq!(found, [field]);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("content-type".to_owned()),
        Just("grpc-timeout".to_owned()),
        "[a-z][a-z0-9-]{0,20}".prop_map(|name| format!("x-{name}")),
    ]
}

type Lists = Vec<Vec<(String, String)>>;

/// Lists of one connection, so that the tables fill and evict.
fn lists() -> impl Strategy<Value = Lists> {
    let field = (
        name(),
        "[ -~]{0,200}".prop_map(|value| value.trim().to_owned()),
    );
    prop::collection::vec(prop::collection::vec(field, 0..12), 1..8)
}

fn indexing(number: usize) -> Indexing {
    let all = [Indexing::Incremental, Indexing::Without, Indexing::Never];
    all[number % all.len()]
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_is_cut(lists in lists(), cut in 1_usize..50, table in 0_u32..400) {
        let mut encoder = Encoder::new(table);
        let mut decoder = Decoder::new(table);
        for list in lists {
            let mut block = Vec::new();
            encoder.begin(&mut block);
            for (number, (name, value)) in list.iter().enumerate() {
                encoder.field(name.as_bytes(), value.as_bytes(), indexing(number), &mut block);
            }
            let mut found = Vec::new();
            for piece in block.chunks(cut) {
                decoder.decode(piece, false, WIDE, |field| found.push(text(&field))).unwrap();
            }
            let size = decoder.decode(&[], true, WIDE, |_| {}).unwrap();
            prop_assert_eq!(size.count, list.len());
            prop_assert_eq!(found, list);
            prop_assert_eq!(decoder.table_size(), encoder.table_size());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(blocks: Vec<Vec<u8>>) {
        let mut decoder = Decoder::new(256);
        for block in blocks {
            if decoder.decode(&block, true, WIDE, |_| {}).is_err() {
                break;
            }
            prop_assert!(decoder.table_size() <= 256);
        }
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const HEADERS: u8 = 1;

/// A HEADERS frame that ends its block and its stream.
fn headers(stream: usize, block: &[u8]) -> Vec<u8> {
    let length = u32::try_from(block.len()).unwrap().to_be_bytes();
    let stream = u32::try_from(stream).unwrap().to_be_bytes();
    [&length[1..], &[HEADERS, 5], &stream, block].concat()
}

fn pseudo() -> Vec<(String, String)> {
    pairs(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "catalog"),
        (":path", "/a.B/C"),
    ])
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

/// What the h2 crate's server makes of our blocks.
async fn accepted_by_h2(lists: &Lists, table: u32) -> Lists {
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    let mut encoder = Encoder::new(4096);
    encoder.allow(table);
    let mut sent = [PREFACE, &SETTINGS].concat();
    for (number, list) in lists.iter().enumerate() {
        let mut block = Vec::new();
        encoder.begin(&mut block);
        for (number, (name, value)) in pseudo().iter().chain(list).enumerate() {
            encoder.field(
                name.as_bytes(),
                value.as_bytes(),
                indexing(number),
                &mut block,
            );
        }
        sent.extend(headers(number * 2 + 1, &block));
    }
    ours.write_all(&sent).await.unwrap();
    let mut server = h2::server::Builder::new()
        .header_table_size(table)
        .max_header_list_size(1 << 20)
        .handshake::<_, Bytes>(theirs)
        .await
        .unwrap();
    let mut found = Vec::new();
    while found.len() < lists.len() {
        let (request, _) = server.accept().await.unwrap().unwrap();
        assert_eq!(request.uri(), "http://catalog/a.B/C");
        found.push(of_map(request.headers()));
    }
    found
}

/// A map's order is by name, so both sides are compared sorted by it.
fn of_map(map: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let mut list: Vec<_> = map
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect();
    list.sort_by(|a, b| a.0.cmp(&b.0));
    list
}

fn sorted(lists: Lists) -> Lists {
    let by_name = |mut list: Vec<(String, String)>| {
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list
    };
    lists.into_iter().map(by_name).collect()
}

/// What we make of the blocks of the h2 crate's client.
async fn sent_by_h2(lists: &Lists) -> Lists {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (mut sender, connection) = h2::client::handshake(theirs).await.unwrap();
    let driver = async {
        // It ends when our side of the pipe goes away.
        drop(connection.await);
    };
    let calls = async {
        let mut answers = Vec::new();
        for list in lists {
            let mut request = http::Request::post("http://catalog/a.B/C");
            for (name, value) in list {
                request = request.header(name, value);
            }
            sender = sender.ready().await.unwrap();
            let request = request.body(()).unwrap();
            let (answer, _) = sender.send_request(request, true).unwrap();
            answers.push(answer);
        }
        answers
    };
    let reading = read_blocks(ours, lists.len());
    let (_, found, ()) = tokio::join!(calls, reading, driver);
    found
}

/// Reads frames until so many blocks have come; the h2 crate sends each in one frame while it is small.
async fn read_blocks(mut pipe: DuplexStream, blocks: usize) -> Lists {
    let mut decoder = Decoder::new(4096);
    let mut found = Vec::new();
    pipe.write_all(&SETTINGS).await.unwrap();
    let mut preface = [0; 24];
    pipe.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, PREFACE);
    while found.len() < blocks {
        let mut head = [0; 9];
        pipe.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        pipe.read_exact(&mut payload).await.unwrap();
        if head[3] == HEADERS {
            assert_eq!(head[4] & 4, 4, "the block's end");
            found.push(decode(&mut decoder, &payload).unwrap());
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_h2_crate_reads_what_we_write(lists in lists(), table in prop_oneof![Just(0_u32), Just(100), Just(4096)]) {
        let found = runtime().block_on(accepted_by_h2(&lists, table));
        prop_assert_eq!(found, sorted(lists));
    }

    #[test]
    fn we_read_what_the_h2_crate_writes(lists in lists()) {
        let found = runtime().block_on(sent_by_h2(&lists));
        for list in &found {
            let named = |name: &str| list.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
            prop_assert_eq!(named(":path"), Some("/a.B/C"));
        }
        let found: Lists = found
            .into_iter()
            .map(|list| list.into_iter().filter(|(name, _)| !name.starts_with(':')).collect())
            .collect();
        prop_assert_eq!(sorted(found), sorted(lists));
    }
}
