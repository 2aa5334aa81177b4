use prost_reflect::DynamicMessage;

use super::*;

fn checked(name: &str, message: &impl prost::Message) -> Result<(), Vec<&'static str>> {
    let kind = outrigger_proto::pool().get_message_by_name(name).unwrap();
    let validator = Validator::new([&kind]).unwrap();
    let message = DynamicMessage::decode(kind, message.encode_to_vec().as_slice()).unwrap();
    validator
        .check(&message)
        .map_err(|failure| vec![failure.reason()])
}

#[test]
fn the_contracts_rules_hold() {
    use outrigger_proto::shop::catalog::v1::BatchGetProductsRequest;
    let name = "shop.catalog.v1.BatchGetProductsRequest";
    let ids = |ids: &[&str]| BatchGetProductsRequest {
        product_ids: ids.iter().map(|&id| id.to_owned()).collect(),
    };
    for (request, valid) in [
        (ids(&["P-101", "4521"]), true),
        (ids(&[]), false),
        (ids(&["P-101", "P-101"]), false),
        (ids(&["P-101"; 101]), false),
    ] {
        let expected = if valid {
            Ok(())
        } else {
            Err(vec!["FIELD_INVALID"])
        };
        assert_eq!(checked(name, &request), expected, "{request:?}");
    }
}

#[test]
fn every_message_of_the_shop_has_only_rules_that_are_enforced() {
    let kinds: Vec<_> = outrigger_proto::pool()
        .all_messages()
        .filter(|kind| kind.full_name().starts_with("shop."))
        .collect();
    assert!(kinds.len() > 50, "{}", kinds.len());
    assert!(Validator::new(&kinds).is_ok());
}
