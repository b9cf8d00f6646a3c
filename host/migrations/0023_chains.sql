-- The transforms of webhooks that have several, in their order. Such a webhook has `(several)` as its `plugin_name`, which is the name
-- of no plugin: a node that does not know this table sends nothing to it.
CREATE TABLE chain_transforms (
    company TEXT NOT NULL,
    holder TEXT NOT NULL,           -- the webhook's id; of a policy, `policy:` and its name
    position BIGINT NOT NULL,       -- from 0
    plugin_name TEXT NOT NULL,
    plugin_pin TEXT,                -- the whole digest of the pinned version; NULL: the active one
    config_digest TEXT NOT NULL,
    on_error TEXT NOT NULL,
    PRIMARY KEY (company, holder, position)
);
-- For the configs that nothing names any more.
CREATE INDEX chain_transforms_config ON chain_transforms (config_digest, company);
-- For the users of a plugin.
CREATE INDEX chain_transforms_plugin ON chain_transforms (company, plugin_name);
