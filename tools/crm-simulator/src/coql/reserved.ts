/**
 * Words that a query holds as names only in quotes: the reserved words of SQL-92, SQL:2016 and SQL:2023, so that no edition is forgotten. The vendor gives one example,
 * "External", and calls it an SQL reserved keyword.
 * @see PostgreSQL documentation, appendix C, "SQL Key Words"
 * @see Kaizen 171, "FAQs on COQL API", question 1
 */
export const reservedWords: ReadonlySet<string> = new Set(
  `abs absent absolute acos action add all allocate alter and any any_value are array array_agg array_max_cardinality as asc asensitive asin assertion asymmetric
  at atan atomic authorization avg begin begin_frame begin_partition between bigint binary bit bit_length blob boolean both btrim by call called cardinality
  cascade cascaded case cast catalog ceil ceiling char character character_length char_length check classifier clob close coalesce collate collation collect
  column commit condition connect connection constraint constraints contains continue convert copy corr corresponding cos cosh count covar_pop covar_samp create
  cross cube cume_dist current current_catalog current_date current_default_transform_group current_path current_role current_row current_schema current_time
  current_timestamp current_transform_group_for_type current_user cursor cycle date day deallocate dec decfloat decimal declare default deferrable deferred define
  delete dense_rank deref desc describe descriptor deterministic diagnostics disconnect distinct domain double drop dynamic each element else empty end end_frame
  end_partition equals escape every except exception exec execute exists exp external extract false fetch filter first first_value float floor for foreign found
  frame_row free from full function fusion get global go goto grant greatest group grouping groups having hold hour identity immediate in indicator initial
  initially inner inout input insensitive insert int integer intersect intersection interval into is isolation join json json_array json_arrayagg json_exists
  json_object json_objectagg json_query json_scalar json_serialize json_table json_table_primitive json_value key lag language large last last_value lateral lead
  leading least left level like like_regex limit listagg ln local localtime localtimestamp log log10 lower lpad ltrim match matches match_number match_recognize
  max measures member merge method min minute mod modifies module month multiset names national natural nchar nclob new next no none normalize not nth_value ntile
  null nullif numeric occurrences_regex octet_length of offset old omit on one only open option or order out outer output over overlaps overlay pad parameter
  partial partition pattern per percent percentile_cont percentile_disc percent_rank period permute portion position position_regex power precedes precision
  prepare preserve primary prior privileges procedure ptf public range rank read reads real recursive ref references referencing regr_avgx regr_avgy regr_count
  regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy relative release restrict result return returns revoke right rollback rollup row rows row_number
  rpad rtrim running savepoint schema scope scroll search second section seek select sensitive session session_user set show similar sin sinh size skip smallint
  some space specific specifictype sql sqlcode sqlerror sqlexception sqlstate sqlwarning sqrt start static stddev_pop stddev_samp submultiset subset substring
  substring_regex succeeds sum symmetric system system_time system_user table tablesample tan tanh temporary then time timestamp timezone_hour timezone_minute to
  trailing transaction translate translate_regex translation treat trigger trim trim_array true truncate uescape union unique unknown unmatched unnest update
  upper usage user using value values value_of varbinary varchar varying var_pop var_samp versioning view when whenever where width_bucket window with within
  without work write year zone`.split(/\s+/),
);
