// Run with `make test`: the plugin as a native program.

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "bindings/transform.h"

// Definitions that the sandbox provides and a native program lacks.
void __component_type_object_force_link_transform(void) {}
void __wasm_import_posthaste_transform_log_write(int32_t level, uint8_t *text, size_t len) {
  printf("log %d: %.*s\n", (int)level, (int)len, (char *)text);
}

static transform_string_t text(const char *bytes) {
  transform_string_t string;
  transform_string_set(&string, bytes);
  return string;
}

static void wraps(void) {
  exports_posthaste_transform_handler_event_t event = {.id = text("evt_1"), .body = text("{\"n\": 1.50}")};
  transform_string_t config = text("\"acme\""), err;
  exports_posthaste_transform_handler_outcome_t ret;
  assert(exports_posthaste_transform_handler_transform(&event, &config, &ret, &err));
  assert(ret.tag == POSTHASTE_TRANSFORM_TYPES_OUTCOME_REPLACE);
  const char *wanted = "{\"id\":\"evt_1\",\"source\":\"acme\",\"data\":{\"n\": 1.50}}";
  assert(ret.val.replace.body.len == strlen(wanted));
  assert(memcmp(ret.val.replace.body.ptr, wanted, strlen(wanted)) == 0);
  exports_posthaste_transform_handler_outcome_free(&ret);
}

static void refuses_other_configs(void) {
  transform_string_t config = text("null"), err;
  assert(!exports_posthaste_transform_handler_check_config(&config, &err));
  transform_string_free(&err);
}

int main(void) {
  wraps();
  refuses_other_configs();
  puts("2 passed");
}
