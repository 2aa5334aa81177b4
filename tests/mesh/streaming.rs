//! Bodies pass through, they are not collected.

use bytes::Bytes;
use outrigger_tests::client::Call;
use outrigger_tests::{Mesh, process, settings};

use crate::ECHO;

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn a_conversation_works_before_the_caller_has_finished() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let call = Call::new("orders", "/test.Echo/Bidi");
            let mut stream = mesh.client("web").open(&call).await.unwrap();
            for turn in 0..100_u32 {
                stream.message(&turn.to_be_bytes()).await;
                assert_eq!(stream.next().await.unwrap(), turn.to_be_bytes().as_slice());
            }
            let answer = stream.close().await.expect_ok();
            assert_eq!(answer.messages.len(), 0);
        })
        .await;
}

#[tokio::test]
async fn a_large_stream_passes_in_little_memory() {
    let size = settings::number("OUTRIGGER_STREAM_MIB", 256) * MIB;
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let web = mesh.client("web");
            let pids = [
                mesh.sidecar("orders").pid(),
                mesh.client_sidecar("web").pid(),
            ];
            // What the first calls need to be there at all is no growth.
            web.unary("orders", "/test.Echo/Download", "1000000")
                .await
                .expect_ok();
            web.unary("orders", ECHO, vec![0; 1_000_000])
                .await
                .expect_ok();
            let before = pids.map(process::peak_resident);

            let call = Call::new("orders", "/test.Echo/Download").message(size.to_string());
            let mut stream = web.open(&call).await.unwrap();
            stream.message(size.to_string().as_bytes()).await;
            stream.send.send_data(Bytes::new(), true).unwrap();
            let mut received = 0;
            while let Some(message) = stream.next().await {
                received += message.len() as u64;
            }
            assert_eq!(received, size);
            stream.finish().await.expect_ok();

            let call = Call::new("orders", "/test.Echo/Upload");
            let mut stream = web.open(&call).await.unwrap();
            let mebibyte = vec![3; 1 << 20];
            for _ in 0..size / MIB {
                stream.message(&mebibyte).await;
            }
            assert_eq!(stream.close().await.expect_ok().text(), size.to_string());

            for (pid, before) in pids.into_iter().zip(before) {
                let grown = process::peak_resident(pid).saturating_sub(before);
                assert!(grown < 16 * MIB, "a sidecar grew by {} KiB", grown / 1024);
            }
        })
        .await;
}
