//! The published crate carries the WIT itself.

#[test]
fn the_crates_wit_is_the_contract() {
    assert_eq!(
        include_str!("../wit/transform.wit"),
        include_str!("../../wit/v0.1/transform.wit"),
        "copy wit/v0.1/transform.wit to plugin-sdk/wit/"
    );
}
