// Wraps the event's data: {"id": the event's id, "source": the config, "data": the data, byte for byte}.

#include <stdlib.h>
#include <string.h>

#include "bindings/transform.h"

// Called when a webhook is created or changed. `false` refuses the config with the text in `err`.
bool exports_posthaste_transform_handler_check_config(transform_string_t *config, transform_string_t *err) {
  if (config->len < 2 || config->ptr[0] != '"') {
    transform_string_dup(err, "config: this plugin wants a string, such as \"acme-hr\": the source's name");
    return false;
  }
  return true;
}

// Appends bytes at `at` and returns the end of the written bytes.
static uint8_t *put(uint8_t *at, const void *bytes, size_t len) {
  memcpy(at, bytes, len);
  return at + len;
}

#define PUT_TEXT(at, text) put((at), (text), sizeof(text) - 1)

// Called for every event. `false` fails the attempt with the text in `err`. The host frees the contents of `ret` and `err`,
// so they must be allocated with malloc.
bool exports_posthaste_transform_handler_transform(exports_posthaste_transform_handler_event_t *event,
                                                   transform_string_t *config,
                                                   exports_posthaste_transform_handler_outcome_t *ret,
                                                   transform_string_t *err) {
  uint8_t *body = malloc(event->id.len + config->len + event->body.len + 64);
  if (!body) {
    transform_string_dup(err, "out of memory");
    return false;
  }
  // The id contains no character that JSON escapes; config and data are JSON already.
  uint8_t *end = PUT_TEXT(body, "{\"id\":\"");
  end = put(end, event->id.ptr, event->id.len);
  end = PUT_TEXT(end, "\",\"source\":");
  end = put(end, config->ptr, config->len);
  end = PUT_TEXT(end, ",\"data\":");
  end = put(end, event->body.ptr, event->body.len);
  end = PUT_TEXT(end, "}");

  *ret = (exports_posthaste_transform_handler_outcome_t){.tag = POSTHASTE_TRANSFORM_TYPES_OUTCOME_REPLACE};
  ret->val.replace.body = (transform_string_t){.ptr = body, .len = (size_t)(end - body)};
  return true;
}
