// Masks one field of the data and leaves every other byte as it was published.
//
// Config: the field's name, such as "bank_number". The host passes valid JSON only, so this parser looks at brackets and
// quotes alone. It does not recognise a name that the data spells with escapes (`\u0062ank_number`).

#include <stdlib.h>
#include <string.h>

#include "bindings/transform.h"

static const char MASK[] = "\"***\"";

// Returns the end of the value, string or key that begins at `at`: skips whole strings and pairs of brackets.
static const uint8_t *after(const uint8_t *at, const uint8_t *end) {
  int depth = 0;
  for (bool quoted = false; at < end; at++) {
    if (quoted) {
      if (*at == '\\') at++;
      else if (*at == '"') quoted = false;
    } else if (*at == '"') quoted = true;
    else if (*at == '{' || *at == '[') depth++;
    else if (depth == 0 && memchr(",:}] \t\r\n", *at, 8)) break;
    else if (*at == '}' || *at == ']') depth--;
  }
  return at < end ? at : end;
}

static const uint8_t *skip(const uint8_t *at, const uint8_t *end, const char *bytes) {
  while (at < end && memchr(bytes, *at, strlen(bytes))) at++;
  return at;
}

bool exports_posthaste_transform_handler_check_config(transform_string_t *config, transform_string_t *err) {
  if (config->len > 2 && config->ptr[0] == '"') return true;
  transform_string_dup(err, "config: this plugin wants a field's name, such as \"bank_number\"");
  return false;
}

bool exports_posthaste_transform_handler_transform(exports_posthaste_transform_handler_event_t *event,
                                                   transform_string_t *config,
                                                   exports_posthaste_transform_handler_outcome_t *ret,
                                                   transform_string_t *err) {
  (void)err;
  *ret = (exports_posthaste_transform_handler_outcome_t){.tag = POSTHASTE_TRANSFORM_TYPES_OUTCOME_PASS};
  const uint8_t *at = event->body.ptr, *end = at + event->body.len, *copied = at;
  at = skip(at, end, " \t\r\n");
  if (at == end || *at != '{') return true;
  // A value of one byte grows by four bytes, but the four bytes of the shortest key before it (`"s":`) do not grow.
  uint8_t *body = malloc(event->body.len * 2 + sizeof MASK), *to = body;
  if (!body) abort();
  for (at = skip(at + 1, end, " \t\r\n"); at < end && *at == '"'; at = skip(at, end, ", \t\r\n")) {
    const uint8_t *key = at, *colon = after(at, end), *value = skip(colon, end, ": \t\r\n");
    at = after(value, end);
    if ((size_t)(colon - key) != config->len || memcmp(key, config->ptr, config->len)) continue;
    memcpy(to, copied, (size_t)(value - copied));
    to += value - copied;
    memcpy(to, MASK, sizeof MASK - 1);
    to += sizeof MASK - 1;
    copied = at;
    ret->tag = POSTHASTE_TRANSFORM_TYPES_OUTCOME_REPLACE;
  }
  memcpy(to, copied, (size_t)(end - copied));
  to += end - copied;
  if (ret->tag == POSTHASTE_TRANSFORM_TYPES_OUTCOME_REPLACE)
    ret->val.replace.body = (transform_string_t){.ptr = body, .len = (size_t)(to - body)};
  return true;
}
