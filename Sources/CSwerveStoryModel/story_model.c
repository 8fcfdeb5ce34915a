#include "swerve_story_model.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

#define PAGE __attribute__((aligned(4096)))

static const PAGE unsigned char weights[] = {
#embed "model/model.safetensors"
};
static const PAGE unsigned char config[] = {
#embed "model/config.json"
};
static const PAGE unsigned char generation_config[] = {
#embed "model/generation_config.json"
};
static const PAGE unsigned char tokenizer[] = {
#embed "model/tokenizer.json"
};
static const PAGE unsigned char tokenizer_config[] = {
#embed "model/tokenizer_config.json"
};
static const PAGE unsigned char chat_template[] = {
#embed "model/chat_template.jinja"
};

static const swerve_story_file files[] = {
    {"model.safetensors", weights, sizeof weights},
    {"config.json", config, sizeof config},
    {"generation_config.json", generation_config, sizeof generation_config},
    {"tokenizer.json", tokenizer, sizeof tokenizer},
    {"tokenizer_config.json", tokenizer_config, sizeof tokenizer_config},
    {"chat_template.jinja", chat_template, sizeof chat_template},
};
const swerve_story_file *swerve_story_files(void) { return files; }

size_t swerve_story_file_count(void) { return sizeof files / sizeof files[0]; }
