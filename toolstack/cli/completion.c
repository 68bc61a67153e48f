// SPDX-License-Identifier: BSD-2-Clause
// Completion scripts for shells, made from the table of verbs.
#include "cli.h"

#include "buf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

// The options that usage and help of a verb speak of, each once, with blanks between them.
static void options_of(const struct cli_command *c, struct buf *out)
{
    const char *texts[] = {c->help, c->usage};
    buf_puts(out, " --help --json");
    for (size_t i = 0; i < 2; i++)
        for (const char *p = texts[i]; (p = strstr(p, "--")); p += 2) {
            char word[48];
            size_t len = 2;
            while (isalnum((unsigned char)p[len]) || p[len] == '-')
                len++;
            bool begins = p == texts[i] || strchr(" [,|\n", p[-1]);
            snprintf(word, sizeof(word), " %.*s ", (int)(len < 40 ? len : 40), p);
            buf_puts(out, " ");
            if (begins && len > 2 && !strstr(out->data, word)) {
                out->data[--out->len] = '\0';
                word[strlen(word) - 1] = '\0';
                buf_puts(out, word);
            } else {
                out->data[--out->len] = '\0';
            }
        }
}

static bool takes(const struct cli_command *c, const char *word)
{
    const char *at = strstr(c->usage, word);
    return at && (at == c->usage || at[-1] == ' ' || at[-1] == '[');
}

static void print_cases(const struct cli_command *c, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        BUF_AUTO options = {0};
        if (!c[i].summary)
            continue;
        options_of(&c[i], &options);
        printf("    %s) options=\"%s\"; guests=%d; files=%d ;;\n", c[i].name, options.data + 1,
               takes(&c[i], "NAME"), takes(&c[i], "FILE") || takes(&c[i], "IMAGE"));
    }
}

static void print_verbs(const struct cli_command *c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (c[i].summary)
            printf(" %s", c[i].name);
}

static void print_choose(const struct cli_command *c, size_t count)
{
    printf("_serai_verb() {\n    case $1 in\n");
    print_cases(c, count);
    printf("    *) options=; guests=0; files=0 ;;\n    esac\n}\n");
    printf("_serai_guests() {\n"
           "    serai list --json 2>/dev/null | sed -n 's/^ *\"name\": \"\\(.*\\)\",*$/\\1/p'\n"
           "}\n");
}

static void print_bash(const struct cli_command *c, size_t count)
{
    printf("# SPDX-License-Identifier: BSD-2-Clause\n# serai(1) in bash; from \"serai completion "
           "bash\".\n_serai_verbs=\"");
    print_verbs(c, count);
    printf("\"\n");
    print_choose(c, count);
    printf("_serai() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} options guests files\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "        mapfile -t COMPREPLY < <(compgen -W \"$_serai_verbs --help --version "
           "--state-dir\" -- \"$word\")\n"
           "        return\n"
           "    fi\n"
           "    _serai_verb \"${COMP_WORDS[1]}\"\n"
           "    if [[ $word == -* ]]; then\n"
           "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n"
           "    elif [ \"$guests\" = 1 ]; then\n"
           "        mapfile -t COMPREPLY < <(compgen -W \"$(_serai_guests)\" -- \"$word\")\n"
           "    elif [ \"${COMP_WORDS[1]}\" = help ]; then\n"
           "        mapfile -t COMPREPLY < <(compgen -W \"$_serai_verbs\" -- \"$word\")\n"
           "    fi\n"
           "    if [ \"$files\" = 1 ] && [ ${#COMPREPLY[@]} -eq 0 ]; then\n"
           "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
           "    fi\n"
           "}\n"
           "complete -o filenames -F _serai serai\n");
}

static void print_zsh(const struct cli_command *c, size_t count)
{
    printf("#compdef serai\n# SPDX-License-Identifier: BSD-2-Clause\n# serai(1) in zsh; from "
           "\"serai completion zsh\".\n_serai_verbs=(");
    print_verbs(c, count);
    printf(")\n");
    print_choose(c, count);
    printf("_serai() {\n"
           "    local options guests files\n"
           "    if (( CURRENT == 2 )); then\n"
           "        compadd -- $_serai_verbs\n"
           "        return\n"
           "    fi\n"
           "    _serai_verb \"${words[2]}\"\n"
           "    [[ $PREFIX == -* ]] && compadd -- ${=options}\n"
           "    (( guests )) && compadd -- ${(f)\"$(_serai_guests)\"}\n"
           "    (( files )) && _files\n"
           "}\n"
           "_serai \"$@\"\n");
}

int cmd_completion(struct cli *cli, int argc, char **argv)
{
    size_t count;
    const struct cli_command *c = cli_commands(&count);
    if (argc == 2 && !strcmp(argv[1], "bash"))
        print_bash(c, count);
    else if (argc == 2 && !strcmp(argv[1], "zsh"))
        print_zsh(c, count);
    else
        return cli_usage(cli, "give bash or zsh");
    return CLI_OK;
}
