/* tools/command.h - the commands of the `weir` binary; each returns the process' exit code. */
#ifndef WEIR_TOOLS_COMMAND_H
#define WEIR_TOOLS_COMMAND_H

#define EXIT_USAGE 2   /* the command line is wrong */
#define EXIT_CONFIG 78 /* a setting or the machine makes a start impossible: do not try again */

struct cli_command;
extern const struct cli_command *const weir_commands[]; /* ends with NULL */
extern const struct cli_command command_serve, command_query, command_tail, command_ls,
    command_config, command_reindex, command_completion, command_man, command_doctor, command_fsck,
    command_mount;

/* Children of the supervisor. */
int cmd_fs(int argc, char **argv);
int cmd_gateway(int argc, char **argv);
int cmd_engine(int argc, char **argv);

#endif
