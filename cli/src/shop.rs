//! `outrigger shop <name>`: one service of the shop in this process, as its own binary runs it.

use std::process::ExitCode;

use clap::Args as ClapArgs;
use clap::builder::PossibleValuesParser;

/// The services of the shop, in the order of the mesh file.
pub(crate) const NAMES: [&str; 6] = [
    "gateway",
    "identity",
    "catalog",
    "orders",
    "inventory",
    "payments",
];

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    SHOP_CATALOG_LISTEN=127.0.0.1:9001 SHOP_CATALOG_DATABASE_URL='sqlite:///tmp/catalog.sqlite?mode=rwc' \\\n  \
    OUTRIGGER_OUTBOUND_ADDR=127.0.0.1:15001 SHOP_PAGE_TOKEN_KEY_FILE=/tmp/page-token outrigger shop catalog\n\n\
    All settings come from the environment: docs/configuration.md.")]
pub(crate) struct Args {
    /// Which service to run
    #[arg(value_parser = PossibleValuesParser::new(NAMES))]
    name: String,
}

/// Settings come from the environment; the service owns signals and exit code.
pub(crate) fn run(args: &Args) -> ExitCode {
    match args.name.as_str() {
        "gateway" => shop_chassis::main(shop_gateway::serve),
        "identity" => shop_chassis::main(shop_identity::serve),
        "catalog" => shop_chassis::main(shop_catalog::serve),
        "orders" => shop_chassis::main(shop_orders::serve),
        "inventory" => shop_chassis::main(shop_inventory::serve),
        "payments" => shop_chassis::main(shop_payments::serve),
        other => unreachable!("clap accepts only {NAMES:?}, not {other}"),
    }
}
