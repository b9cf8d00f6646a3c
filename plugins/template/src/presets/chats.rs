//! Messages to people: Slack, Teams, Discord and Google Chat, each by the limits of its service, which refuses a message beyond them.

use posthaste_jinja::{Escape, Fault, shorten};
use posthaste_plugin::Event;
use serde_json::{Value, json};

use super::message::{Message, Texts};

/// Blocks of Slack hold ten fields, of 2,000 characters each: <https://docs.slack.dev/reference/block-kit/blocks/section-block>.
const SLACK_FIELDS: usize = 10;

/// Sections of fields; a message has at most 50 blocks.
const SLACK_SECTIONS: usize = 40;

/// Characters of all texts of Discord's embeds: <https://docs.discord.com/developers/resources/message#embed-object-embed-limits>.
const DISCORD_TOTAL: usize = 6_000;

/// Bytes of the text and the fields of a message to Teams, which has 28 KB at most with its title and link.
const TEAMS_TOTAL: usize = 22_000;

pub(super) fn slack(message: &Message, event: &Event) -> Result<String, Fault> {
    let texts = message.fill(event, Some(Escape::Slack))?;
    // A header is plain text, in which nothing is escaped.
    let title = shorten(&one_line(&message.plain_title(event)?), 150);
    let mut blocks = vec![json!({"type": "header", "text": {"type": "plain_text", "text": title}})];
    let section = |text: &str| json!({"type": "section", "text": {"type": "mrkdwn", "text": shorten(text, 3_000)}});
    blocks.extend(texts.text.as_deref().map(section));
    for fields in texts.fields.chunks(SLACK_FIELDS).take(SLACK_SECTIONS) {
        let field = |(name, text): &(String, String)| json!({"type": "mrkdwn", "text": format!("*{}*\n{}", shorten(&one_line(name), 150), shorten(text, 1_800))});
        blocks.push(json!({"type": "section", "fields": fields.iter().map(field).collect::<Vec<_>>()}));
    }
    if let Some((link, text)) = &texts.link {
        // The address ends at these characters.
        let link = link.replace('<', "%3C").replace('>', "%3E").replace('|', "%7C").replace('&', "&amp;");
        let text = shorten(&one_line(text), 150);
        if link.len() <= 2_800 {
            blocks.push(section(&format!("<{link}|{text}>")));
        }
    }
    Ok(json!({"text": shorten(&one_line(&texts.title), 3_000), "blocks": blocks}).to_string())
}

pub(super) fn discord(message: &Message, event: &Event) -> Result<String, Fault> {
    let texts = message.fill(event, Some(Escape::Discord))?;
    let mut embed = json!({"title": shorten(&one_line(&texts.title), 256), "timestamp": event.occurred_at});
    let length = |text: &str| text.encode_utf16().count();
    let mut total = length(&shorten(&texts.title, 256));
    if let Some(text) = &texts.text {
        let text = shorten(text, if texts.fields.is_empty() { 4_096 } else { 2_000 });
        total += length(&text);
        set(&mut embed, "description", text.into());
    }
    let mut fields = Vec::new();
    for (name, text) in texts.fields.iter().take(25) {
        let (name, text) = (shorten(&one_line(name), 256), shorten(text, 1_024));
        total += length(&name) + length(&text);
        if total <= DISCORD_TOTAL {
            fields.push(json!({"name": name, "value": text, "inline": text.len() < 40}));
        }
    }
    if !fields.is_empty() {
        set(&mut embed, "fields", fields.into());
    }
    if let Some((link, _)) = &texts.link {
        set(&mut embed, "url", link.as_str().into());
    }
    Ok(json!({"embeds": [embed], "allowed_mentions": {"parse": []}}).to_string())
}

pub(super) fn teams(message: &Message, event: &Event) -> Result<String, Fault> {
    // The text of a run is not interpreted, unlike that of a text block.
    let texts = message.fill(event, None)?;
    let run = |text: &str, weight: &str| json!({"type": "TextRun", "text": text, "weight": weight});
    let lines = |runs: Vec<Value>| json!({"type": "RichTextBlock", "inlines": runs});
    let mut title = run(&shorten(&one_line(&texts.title), 200), "Bolder");
    set(&mut title, "size", "Medium".into());
    let mut body = vec![lines(vec![title])];
    body.extend(texts.text.as_deref().map(|text| lines(vec![run(&shorten(text, 2_000), "Default")])));
    let mut total = body.iter().map(|block| block.to_string().len()).sum::<usize>();
    for (name, text) in &texts.fields {
        let name = format!("{}: ", shorten(&one_line(name), 100));
        let field = lines(vec![run(&name, "Bolder"), run(&shorten(text, 1_000), "Default")]);
        total += field.to_string().len();
        body.extend((total <= TEAMS_TOTAL).then_some(field));
    }
    let mut card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.5", "body": body,
    });
    if let Some((link, text)) = &texts.link {
        let action = json!({"type": "Action.OpenUrl", "title": shorten(&one_line(text), 100), "url": link});
        set(&mut card, "actions", json!([action]));
    }
    let attachment = json!({"contentType": "application/vnd.microsoft.card.adaptive", "content": card});
    Ok(json!({"type": "message", "attachments": [attachment]}).to_string())
}

pub(super) fn google_chat(message: &Message, event: &Event) -> Result<String, Fault> {
    let Texts { title, text, fields, link } = message.fill(event, Some(Escape::GoogleChat))?;
    let mut lines = vec![format!("*{}*", shorten(&one_line(&title), 200))];
    lines.extend(text);
    lines
        .extend(fields.iter().map(|(name, text)| format!("{}: {}", shorten(&one_line(name), 100), shorten(text, 500))));
    // The link comes first of what is kept.
    let link = link.map(|(link, text)| {
        let link = link.replace('<', "%3C").replace('>', "%3E").replace('|', "%7C");
        format!("\n<{link}|{}>", shorten(&one_line(&text), 100))
    });
    let link = link.filter(|link| link.len() <= 3_000).unwrap_or_default();
    let text = shorten(&lines.join("\n"), 4_096 - link.encode_utf16().count());
    Ok(json!({"text": format!("{text}{link}")}).to_string())
}

/// Returns a text without line breaks, which titles and names cannot have.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Sets a member of an object.
pub(super) fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}
