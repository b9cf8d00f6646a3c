//! Hostile uploads: most are refused before compilation.

use posthaste_tests::{bomb, guest, shipped};

use super::Stage;

#[tokio::test]
async fn upload_that_loops_or_traps_in_its_check_is_refused() {
    let stage = Stage::set().await;
    for (name, part) in [
        ("loop_in_start", "deadline: 2s allowed"),
        ("loop_in_check_config", "deadline: 2s allowed"),
        ("wrong_world", "does not export `posthaste:transform/handler@0.1.x`"),
    ] {
        stage.refused(name, &guest(name), part).await;
    }
}

#[tokio::test]
async fn excessive_declarations_are_refused_with_limit_and_count() {
    let stage = Stage::set().await;
    for (name, part) in [
        ("nested", "too many components and modules inside each other: 16 allowed, 17 or more wanted"),
        ("nested_thousands", "too many components and modules inside each other: 16 allowed, 17 or more wanted"),
        ("instances", "too many instances: 500 allowed, 633 or more wanted"),
        ("instances_by_alias", "too many instances: 500 allowed, 633 or more wanted"),
        ("instances_of_the_given", "instantiates a component that it is given from elsewhere"),
        ("functions", "too many functions: 40000 allowed, 40004 or more wanted"),
        ("types", "too many core types: 10000 allowed, 100003 or more wanted"),
        ("element_segments", "too many element segments: 10000 allowed, 90000 or more wanted"),
        ("imports", "`a19`, and 29980 more; a transform may import only"),
        ("component_types", "does not have export `check-config`"),
        ("br_table", "has 119999 targets, which exceeds the implementation limit of 65520"),
    ] {
        stage.refused(name, &bomb(name), part).await;
    }
}

/// These are large and not forbidden; the limits on the time and memory of compilation may refuse them.
#[tokio::test]
async fn slow_compilation_disturbs_no_other_company() {
    let stage = Stage::set().await;
    for name in ["huge_function", "deep_blocks", "br_tables", "locals", "globals", "data_segments", "exports"] {
        let (client, wasm) = (stage.process.client.clone(), bomb(name));
        let plugin = name.replace('_', "-");
        let upload = tokio::spawn(async move { client.upload(&plugin, &wasm).await });
        loop {
            stage.unharmed(name).await;
            if upload.is_finished() {
                break;
            }
        }
        let answer = upload.await.unwrap();
        assert!(answer.status == 201 || answer.problem(422).contains("allowed"), "{name}: {}", answer.status);
    }
}

#[tokio::test]
async fn upload_that_is_no_component_is_refused_by_its_apparent_format() {
    let stage = Stage::set().await;
    let cases: [(&str, &[u8], &str); 7] = [
        ("empty", b"", "the file is empty"),
        ("zeroes", &[0; 4096], "only zeroes"),
        ("elf", b"\x7fELF\x02\x01\x01\0\0\0\0\0", "native program (ELF)"),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
        ("text_format", b"(component)", "WebAssembly text"),
        ("source", b"fn main() {}", "text"),
        ("magic_alone", b"\0asm", "cut short"),
    ];
    for (name, bytes, part) in cases {
        stage.refused(name, bytes, part).await;
    }
}

#[tokio::test]
async fn truncated_upload_is_refused() {
    let (stage, whole) = (Stage::set().await, shipped("mask"));
    for cut in 1..16 {
        stage.refused("cut", &whole[..whole.len() * cut / 16], "").await;
    }
}

#[tokio::test]
async fn uploads_with_flipped_bits_do_no_harm() {
    let (stage, whole) = (Stage::set().await, guest("replace"));
    for at in (0..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        let answer = stage.process.client.upload("flipped", &flipped).await;
        // A flipped bit in a text inside the plugin has no visible effect.
        assert!([200, 201, 422].contains(&answer.status), "byte {at}: {}", answer.status);
    }
    stage.unharmed("flipped").await;
}
