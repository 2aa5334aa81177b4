//! The demo's means to pay: Alice and Bob have the card that always works, and Alice has 100.00 USD in her wallet.
//! Loaded once: a card that is attached stays, a wallet that has moved is left alone.

use sea_orm::ConnectionTrait;

use crate::error::Error;
use crate::ledger::{Account, Posting};
use crate::method::Method;
use crate::store::methods::{self, Attached};
use crate::store::{Stamp, books};

const ALICE: u32 = 1;
const BOB: u32 = 2;
const ALICES_WALLET: i64 = 10_000;

/// Attaches the cards and fills the wallet, unless that was done before.
pub async fn load(conn: &impl ConnectionTrait, stamp: Stamp<'_>) -> Result<(), Error> {
    let visa = Method::test_token("pm_visa_4242").expect("the demo's card is a test token");
    let card = Attached {
        method: visa,
        is_default: true,
    };
    let first_start = methods::of_user(conn, ALICE).await?.is_empty();
    for user in [ALICE, BOB] {
        methods::attach(conn, user, &card).await?;
    }
    if first_start && books::balance(conn, &Account::Wallet(ALICE)).await? == 0 {
        let top_up = Posting::wallet_top_up(ALICE, ALICES_WALLET);
        books::post(conn, stamp, "", "USD", &top_up).await?;
    }
    Ok(())
}
