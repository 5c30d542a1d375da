
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA ai;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE ai.agent_sessions (
    session_id character varying NOT NULL,
    session_type character varying NOT NULL,
    agent_id character varying,
    team_id character varying,
    workflow_id character varying,
    user_id character varying,
    session_data jsonb,
    agent_data jsonb,
    team_data jsonb,
    workflow_data jsonb,
    metadata jsonb,
    runs jsonb,
    summary jsonb,
    created_at bigint NOT NULL,
    updated_at bigint
);

CREATE TABLE ai.agent_sessions_runs (
    run_id character varying NOT NULL,
    session_id character varying NOT NULL,
    run_type character varying NOT NULL,
    agent_id character varying,
    team_id character varying,
    workflow_id character varying,
    user_id character varying,
    parent_run_id character varying,
    status character varying,
    run_index bigint,
    run_data jsonb NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint
);

CREATE TABLE ai.agno_schema_versions (
    table_name character varying NOT NULL,
    version character varying NOT NULL,
    created_at character varying NOT NULL,
    updated_at character varying
);

CREATE TABLE ai.user_memories (
    memory_id character varying NOT NULL,
    memory jsonb NOT NULL,
    feedback text,
    input text,
    agent_id character varying,
    team_id character varying,
    user_id character varying,
    topics jsonb,
    created_at bigint NOT NULL,
    updated_at bigint
);

INSERT INTO ai.agent_sessions VALUES
	('c1', 'team', NULL, 'hero-team', NULL, 'ada', '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 40, "total_tokens": 60, "output_tokens": 20}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 40, "total_tokens": 60, "output_tokens": 20}]}, "input_tokens": 80, "total_tokens": 120, "output_tokens": 40}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', '[{"input": {"input_content": "My name is Ada and I prefer tea"}, "model": "openai/gpt-oss-120b", "events": [], "run_id": "43872132-8bea-42ac-a055-9c0ac5a7e854", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.34112823699979344, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.2504931669998314}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "d9a50051-aac2-4d94-957e-60e8f99c406d", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "d7b39797-d0a6-4837-83b8-b4e096178a58", "role": "user", "content": "My name is Ada and I prefer tea", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "479ad9e4-0a0e-4eeb-98f2-db11c2747a2d", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.23378562399989278, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.23378562399989278}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "c1", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}, {"input": {"input_content": "Who am I?"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "4289038e-d06c-494a-9de5-e94656e04d5c", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.10156420699991031, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.026412483999820324}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "433919bb-f046-411f-ac3f-a1bdb3fa8282", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "653609f9-b41d-4b14-afae-9cf426928423", "role": "user", "content": "Who am I?", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "885fd1b4-dd01-4e83-aaa8-a23a48f665e7", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.006966577999946821, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.006966577999946821}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "c1", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}]', 'null', 1795452166, 1795452173),
	('c2', 'team', NULL, 'hero-team', NULL, 'bob', '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}]}, "input_tokens": 40, "total_tokens": 60, "output_tokens": 20}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', '[{"input": {"input_content": "I am Bob, I live in Kraków 🏰"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "3e9f92fe-6fe0-481a-a10e-36c213ff6235", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.1118698459999905, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.02434884200010856}, "team_id": "hero-team", "user_id": "bob", "messages": [{"id": "221a7f92-d8db-48d8-8feb-be6b9abcb37f", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "ea282454-0f19-41f7-9d1b-09165bbd1d8f", "role": "user", "content": "I am Bob, I live in Kraków 🏰", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "49ed977d-4cf0-47a0-acbf-9a07edc173b5", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.00781931300002725, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.00781931300002725}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "c2", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}]', 'null', 1795452166, 1795452173),
	('nobody', 'team', NULL, 'hero-team', NULL, NULL, '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}]}, "input_tokens": 40, "total_tokens": 60, "output_tokens": 20}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', '[{"input": {"input_content": "Nobody knows me"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "4a43dcfb-457a-42e0-810d-4e8b45600fbe", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.08116044500002317, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.0202413859999524}, "team_id": "hero-team", "messages": [{"id": "0579fb6c-5659-486b-93fb-5d97877e3ac3", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "d68a2cb5-af54-4cbb-b1c0-05144c73c98d", "role": "user", "content": "Nobody knows me", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "d2e5ec4f-dec8-4a1c-80fa-e06f3e15cbac", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.005365812000036385, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.005365812000036385}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "nobody", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}]', 'null', 1795452166, 1795452174),
	('channel-7', 'team', NULL, 'hero-team', NULL, 'ada', '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}]}, "input_tokens": 40, "total_tokens": 60, "output_tokens": 20}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', '[{"input": {"input_content": "I play the cello"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "d555c753-6a35-4cd9-b561-1f2817d479fb", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.06812314900003003, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.016648654999926293}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "b5869304-8405-4a04-9fb3-13df2f18cbee", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "74bdc322-d0cb-4e9b-ae39-f98311d6770a", "role": "user", "content": "I play the cello", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "18d72ac8-c705-4fae-99dd-34c927aef563", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.005497138000009727, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.005497138000009727}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}]', 'null', 1795452166, 1795452174);

INSERT INTO ai.agent_sessions_runs VALUES
	('52ad1a1b-a412-4f6f-a2e5-3370447b5d53', 'c1', 'team', NULL, 'hero-team', NULL, 'ada', NULL, 'COMPLETED', 2, '{"input": {"input_content": "My name is Ada and I prefer tea"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "52ad1a1b-a412-4f6f-a2e5-3370447b5d53", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.46711619699999574, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.4380162800000562}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "279d77aa-c014-4314-8683-fdae8d53888e", "role": "system", "content": "(instructions)", "created_at": 1795452173, "from_history": false, "stop_after_tool_call": false}, {"id": "3e8ec29e-cfeb-41e9-b2d2-c5f2f5e3bf2c", "role": "user", "content": "My name is Ada and I prefer tea", "created_at": 1795452173, "from_history": false, "stop_after_tool_call": false}, {"id": "09488318-cae3-400f-b617-7e6957d46533", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.299311753999973, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.299311753999973}, "created_at": 1795452173, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452173, "session_id": "c1", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452173, 1795452173),
	('ba56d2d7-c346-4677-aa1d-f48d13d5f290', 'c1', 'team', NULL, 'hero-team', NULL, 'ada', NULL, 'COMPLETED', 3, '{"input": {"input_content": "Who am I?"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "ba56d2d7-c346-4677-aa1d-f48d13d5f290", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.077558769999996, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.01975186999993639}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "ecd29964-b5fa-4af8-9a62-ff88d6331dc9", "role": "system", "content": "(instructions)", "created_at": 1795452173, "from_history": false, "stop_after_tool_call": false}, {"id": "f03e37e5-751a-46b5-bbc9-9edcb539ad44", "role": "user", "content": "Who am I?", "created_at": 1795452173, "from_history": false, "stop_after_tool_call": false}, {"id": "7a20837e-84cc-4bfe-95ba-accd0d889154", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.008142362999933539, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.008142362999933539}, "created_at": 1795452173, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452173, "session_id": "c1", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452173, 1795452173),
	('a0877b0f-2551-4f3f-bc0c-26589e6590f0', 'c2', 'team', NULL, 'hero-team', NULL, 'bob', NULL, 'COMPLETED', 1, '{"input": {"input_content": "I am Bob, I live in Kraków 🏰"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "a0877b0f-2551-4f3f-bc0c-26589e6590f0", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.08456797199983157, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.016036446999805776}, "team_id": "hero-team", "user_id": "bob", "messages": [{"id": "020571a0-f6a6-4ec4-bba6-0f3f5f7cf97b", "role": "system", "content": "(instructions)", "created_at": 1795452173, "from_history": false, "stop_after_tool_call": false}, {"id": "8b937f27-5c28-4c15-88f5-a6d021dec6f7", "role": "user", "content": "I am Bob, I live in Kraków 🏰", "created_at": 1795452173, "from_history": false, "stop_after_tool_call": false}, {"id": "796cfe9f-263e-4e09-bfb7-ca068bb60074", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.0090250420000757, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.0090250420000757}, "created_at": 1795452173, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452173, "session_id": "c2", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452173, 1795452173),
	('54cfedf6-a8ee-4aa6-b613-35c26ee180fe', 'channel-7', 'team', NULL, 'hero-team', NULL, 'ada', NULL, 'COMPLETED', 1, '{"input": {"input_content": "I play the cello"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "54cfedf6-a8ee-4aa6-b613-35c26ee180fe", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.08556482600010895, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.01858016599999246}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "2526110f-0aeb-4dfb-9afc-3373c18814fc", "role": "system", "content": "(instructions)", "created_at": 1795452174, "from_history": false, "stop_after_tool_call": false}, {"id": "b3fef1d7-c1d7-42a3-a2ab-f236e7205b76", "role": "user", "content": "I play the cello", "created_at": 1795452174, "from_history": false, "stop_after_tool_call": false}, {"id": "a394bf60-f0b7-4d46-b9b4-f94929f37235", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.012045924999938507, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.012045924999938507}, "created_at": 1795452174, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452173, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452173, 1795452174),
	('91227e4d-5ce1-407a-bb72-f754b2905a62', 'channel-7', 'team', NULL, 'hero-team', NULL, 'bob', NULL, 'COMPLETED', 0, '{"input": {"input_content": "Nice, Ada"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "91227e4d-5ce1-407a-bb72-f754b2905a62", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.0706892670000343, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.013530939000020226}, "team_id": "hero-team", "user_id": "bob", "messages": [{"id": "4fd276d4-a257-4ae7-85db-840216539895", "role": "system", "content": "(instructions)", "created_at": 1795452174, "from_history": false, "stop_after_tool_call": false}, {"id": "54caa3e2-fcca-4c62-a539-be4818e62361", "role": "user", "content": "Nice, Ada", "created_at": 1795452174, "from_history": false, "stop_after_tool_call": false}, {"id": "c7a140ac-cebe-43aa-a2f1-98d7828bca77", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.007844641000019692, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.007844641000019692}, "created_at": 1795452174, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452174, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452174, 1795452174),
	('13519576-572f-42cc-8d0b-f184d135c675', 'channel-7', 'team', NULL, 'hero-team', NULL, 'bob', NULL, 'COMPLETED', 0, '{"input": {"input_content": "What does Ada play?"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "13519576-572f-42cc-8d0b-f184d135c675", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.06704538900021362, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.012467661000073349}, "team_id": "hero-team", "user_id": "bob", "messages": [{"id": "2aa57b67-3e98-48ff-bee2-0cf1170b1730", "role": "system", "content": "(instructions)", "created_at": 1795452174, "from_history": false, "stop_after_tool_call": false}, {"id": "4285fcce-cfb6-4771-9cd8-80d93857e7da", "role": "user", "content": "What does Ada play?", "created_at": 1795452174, "from_history": false, "stop_after_tool_call": false}, {"id": "db3fb305-7867-4561-a70d-936af6bf592e", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.0071487279999473685, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.0071487279999473685}, "created_at": 1795452174, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452174, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452174, 1795452174),
	('226888d8-ea7d-4c2e-8cce-5245ab91eeae', 'nobody', 'team', NULL, 'hero-team', NULL, NULL, NULL, 'COMPLETED', 1, '{"input": {"input_content": "Nobody knows me"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "226888d8-ea7d-4c2e-8cce-5245ab91eeae", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.08229003199994622, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.016705439999896043}, "team_id": "hero-team", "messages": [{"id": "47891521-6532-48aa-ba47-b6750674dd4d", "role": "system", "content": "(instructions)", "created_at": 1795452174, "from_history": false, "stop_after_tool_call": false}, {"id": "a9fcd8c6-db25-4df3-924f-ce0b24ae20eb", "role": "user", "content": "Nobody knows me", "created_at": 1795452174, "from_history": false, "stop_after_tool_call": false}, {"id": "eaa84c7b-5442-4a07-9a75-28c1f15d6c83", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.006829643999935797, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.006829643999935797}, "created_at": 1795452174, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452174, "session_id": "nobody", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452174, 1795452174);

INSERT INTO ai.agno_schema_versions VALUES
	('user_memories', '2.5.6', '2026-11-23T16:42:46.360151', '2026-11-23T16:42:46.360151'),
	('agent_sessions', '2.5.6', '2026-11-23T16:42:46.429107', '2026-11-23T16:42:46.429107'),
	('agent_sessions_runs', '3.0.0', '2026-11-23T16:42:53.796759', '2026-11-23T16:42:53.796759');

INSERT INTO ai.user_memories VALUES
	('85783ccf-29a7-4365-9308-8db7a9f90192', '"Ada is called Ada and prefers tea"', NULL, 'My name is Ada and I prefer tea', NULL, 'hero-team', 'ada', '["name", "drinks"]', 1795452166, 1795452166),
	('0c63758c-607c-45ea-ba79-3c7fbbcb159e', '"Bob lives in Kraków 🏰"', NULL, 'I am Bob, I live in Kraków 🏰', NULL, 'hero-team', 'bob', '["name", "place"]', 1795452166, 1795452166),
	('d93eff38-02de-493d-8064-7bfb4bc65e3e', '"Ada plays the cello"', NULL, 'I play the cello', NULL, 'hero-team', 'ada', '["music"]', 1795452166, 1795452166),
	('eebb571d-ffca-46ed-861d-a86ef9999695', '"Somebody without a name was here"', NULL, 'Nobody knows me', NULL, 'hero-team', 'default', 'null', 1795452166, 1795452166),
	('15e587b7-2e18-47db-aae7-5604be72ec47', '"Ada is called Ada and prefers tea"', NULL, 'My name is Ada and I prefer tea', NULL, 'hero-team', 'ada', '["name", "drinks"]', 1795452173, 1795452173),
	('ba1ef46d-e375-437d-9c28-467c6f7f7fc5', '"Bob lives in Kraków 🏰"', NULL, 'I am Bob, I live in Kraków 🏰', NULL, 'hero-team', 'bob', '["name", "place"]', 1795452173, 1795452173),
	('23c8660f-6320-4f61-928a-a1d1d127d679', '"Ada plays the cello"', NULL, 'I play the cello', NULL, 'hero-team', 'ada', '["music"]', 1795452174, 1795452174),
	('27b40a16-c398-44f1-bda0-b3507fc61264', '"Somebody without a name was here"', NULL, 'Nobody knows me', NULL, 'hero-team', 'default', 'null', 1795452174, 1795452174);

ALTER TABLE ONLY ai.agent_sessions
    ADD CONSTRAINT agent_sessions_pkey PRIMARY KEY (session_id);

ALTER TABLE ONLY ai.agent_sessions_runs
    ADD CONSTRAINT agent_sessions_runs_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY ai.agno_schema_versions
    ADD CONSTRAINT agno_schema_versions_pkey PRIMARY KEY (table_name);

ALTER TABLE ONLY ai.user_memories
    ADD CONSTRAINT user_memories_pkey PRIMARY KEY (memory_id);

CREATE INDEX idx_agent_sessions_created_at ON ai.agent_sessions USING btree (created_at);

CREATE INDEX idx_agent_sessions_runs_agent_id ON ai.agent_sessions_runs USING btree (agent_id);

CREATE INDEX idx_agent_sessions_runs_created_at ON ai.agent_sessions_runs USING btree (created_at);

CREATE INDEX idx_agent_sessions_runs_run_type ON ai.agent_sessions_runs USING btree (run_type);

CREATE INDEX idx_agent_sessions_runs_session_id ON ai.agent_sessions_runs USING btree (session_id);

CREATE INDEX idx_agent_sessions_runs_session_id_run_index ON ai.agent_sessions_runs USING btree (session_id, run_index);

CREATE INDEX idx_agent_sessions_runs_status ON ai.agent_sessions_runs USING btree (status);

CREATE INDEX idx_agent_sessions_runs_team_id ON ai.agent_sessions_runs USING btree (team_id);

CREATE INDEX idx_agent_sessions_runs_user_id ON ai.agent_sessions_runs USING btree (user_id);

CREATE INDEX idx_agent_sessions_runs_workflow_id ON ai.agent_sessions_runs USING btree (workflow_id);

CREATE INDEX idx_agent_sessions_session_type ON ai.agent_sessions USING btree (session_type);

CREATE INDEX idx_agno_schema_versions_created_at ON ai.agno_schema_versions USING btree (created_at);

CREATE INDEX idx_user_memories_created_at ON ai.user_memories USING btree (created_at);

CREATE INDEX idx_user_memories_updated_at ON ai.user_memories USING btree (updated_at);

CREATE INDEX idx_user_memories_user_id ON ai.user_memories USING btree (user_id);

ALTER TABLE ONLY ai.agent_sessions_runs
    ADD CONSTRAINT agent_sessions_runs_session_id_fkey FOREIGN KEY (session_id) REFERENCES ai.agent_sessions(session_id) ON DELETE CASCADE;

