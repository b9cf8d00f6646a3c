//! The published crate contains a copy of the WIT.

#[test]
fn the_copy_of_the_wit_equals_its_source() {
    assert_eq!(
        include_str!("../wit/transform.wit"),
        include_str!("../../wit/v0.1/transform.wit"),
        "run `cargo xtask wit`"
    );
}
