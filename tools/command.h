/* tools/command.h - the commands of the `weir` binary; each returns the process' exit code. */
#ifndef WEIR_TOOLS_COMMAND_H
#define WEIR_TOOLS_COMMAND_H

#define EXIT_USAGE 2   /* the command line is wrong */
#define EXIT_CONFIG 78 /* a setting or the machine makes a start impossible: do not try again */

int cmd_serve(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_query(int argc, char **argv);
int cmd_reindex(int argc, char **argv);
/* Children of the supervisor. */
int cmd_fs(int argc, char **argv);
int cmd_gateway(int argc, char **argv);
int cmd_engine(int argc, char **argv);

#endif
